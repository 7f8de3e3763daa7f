/* What a child of fork can do with what was opened before: run by tests/fork.rs.
 *
 * usage: fork GENERATOR.onnx THREADS MILLISECONDS
 *
 * Prints what the child was told where it cannot draw. The exit code is 0 if everything was as it must be.
 */

#define _POSIX_C_SOURCE 200809L

#include <kiln.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds after which a child hangs. */
#define PATIENCE 60

#define MUST(condition)                                                                                              \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            fprintf(stderr, "line %d: %s; last error: %s\n", __LINE__, #condition, kiln_error_text());              \
            exit(1);                                                                                                 \
        }                                                                                                            \
    } while (0)

static KilnGenerator opened(const char *path, uint32_t threads, uint32_t limit)
{
    KilnGenerator generator;
    KilnOptions options;
    MUST(kiln_options_default(&options, sizeof options) == KILN_STATUS_OK);
    options.threads = threads;
    options.time_limit_ms = limit;
    MUST(kiln_open(path, &options, &generator) == KILN_STATUS_OK);
    return generator;
}

int main(int argc, char **argv)
{
    KilnGenerator generator, streamed, own;
    KilnRequest request;
    KilnStream stream;
    KilnInfo info;
    uint8_t *expected, *image;
    uint32_t threads, limit;
    int status;
    MUST(argc == 4);
    threads = (uint32_t)atoi(argv[2]);
    limit = (uint32_t)atoi(argv[3]);
    generator = opened(argv[1], threads, limit);
    MUST(kiln_info(generator, &info, sizeof info) == KILN_STATUS_OK);
    MUST(kiln_request_default(&request, sizeof request) == KILN_STATUS_OK);
    /* It draws from a session of its own, so that closing the generator drops that one's. */
    streamed = opened(argv[1], threads, limit);
    MUST(kiln_stream_open(streamed, &request, 4, &stream) == KILN_STATUS_OK);
    MUST(kiln_close(streamed) == KILN_STATUS_OK);
    expected = malloc(16 * info.image_len);
    image = malloc(16 * info.image_len);
    MUST(expected != NULL && image != NULL);
    MUST(kiln_sample(generator, 7, 0, expected, 16 * info.image_len) == KILN_STATUS_OK);

    /* One child closes what it was born with, the other ends as it is. */
    for (int closes = 0; closes < 2; closes++) {
        pid_t child = fork();
        MUST(child >= 0);
        if (child == 0) {
            alarm(PATIENCE);
            if (threads == 1 && limit == 0) {
                MUST(kiln_sample(generator, 7, 0, image, 16 * info.image_len) == KILN_STATUS_OK);
                MUST(memcmp(image, expected, 16 * info.image_len) == 0);
            } else {
                MUST(kiln_sample(generator, 7, 0, image, 16 * info.image_len) == KILN_STATUS_FORKED);
                printf("%s\n", kiln_error_text());
                MUST(kiln_warm_up(generator, 1) == KILN_STATUS_FORKED);
                MUST(kiln_cancel(generator) == KILN_STATUS_OK);
            }
            for (status = 0; kiln_stream_next(stream, image, info.image_len) == KILN_STATUS_OK; status++) {
                MUST(status < 4);
            }
            MUST(strstr(kiln_error_text(), "start one in the child") != NULL);
            if (closes) {
                MUST(kiln_close(generator) == KILN_STATUS_OK);
                MUST(kiln_stream_close(stream) == KILN_STATUS_OK);
            }
            own = opened(argv[1], threads, limit);
            MUST(kiln_sample(own, 7, 0, image, 16 * info.image_len) == KILN_STATUS_OK);
            MUST(memcmp(image, expected, 16 * info.image_len) == 0);
            if (closes) {
                MUST(kiln_close(own) == KILN_STATUS_OK);
            }
            exit(0);
        }
        MUST(waitpid(child, &status, 0) == child);
        MUST(!WIFSIGNALED(status));
        MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }

    /* The parent has lost nothing. */
    MUST(kiln_sample(generator, 7, 0, image, 16 * info.image_len) == KILN_STATUS_OK);
    MUST(memcmp(image, expected, 16 * info.image_len) == 0);
    MUST(kiln_stream_next(stream, image, info.image_len) == KILN_STATUS_OK);
    MUST(kiln_stream_close(stream) == KILN_STATUS_OK);
    MUST(kiln_close(generator) == KILN_STATUS_OK);
    free(image);
    free(expected);
    return 0;
}
