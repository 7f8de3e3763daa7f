/* What a binding does with errors: it decides by the status, and gets the text in whatever thread it goes on.
 * usage: errors FIXTURES */

#include <kiln.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                       \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, text);        \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

#if KILN_VERSION_MAJOR == 0 && KILN_VERSION_MINOR < 1
#error "too old"
#endif

static char text[2000] = "?";
static const char *folder;

/* Opens a file of the folder, with the text into `text`. */
static KilnStatus opened(const char *name, uint32_t max_batch, KilnGenerator *out) {
    char path[1000];
    KilnOptions options;
    MUST(kiln_options_default(&options, sizeof options) == KILN_STATUS_OK);
    MUST(options.error_text == NULL && options.error_capacity == 0);
    options.max_batch = max_batch;
    options.error_text = text;
    options.error_capacity = sizeof text;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return kiln_open(path, &options, out);
}

static void *draw_too_much(void *generator) {
    uint8_t byte;
    KilnStatus status = kiln_sample(*(KilnGenerator *)generator, 0, 0, &byte, 99);
    MUST(strstr(kiln_error_text(), "len is 99") != NULL);
    return (void *)(intptr_t)status;
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        KilnStatus status;
        const char *words;
    } wrong[] = {
        {"nothing.onnx", KILN_STATUS_NOT_FOUND, "nothing.onnx: cannot be opened"},
        {"make.py", KILN_STATUS_NOT_A_MODEL, "is no ONNX file"},
        {"no-metadata.onnx", KILN_STATUS_FOREIGN, "kiln.format"},
        {"wrong-rank.onnx", KILN_STATUS_UNSUPPORTED, "wrong-rank.onnx"},
        {"failing-self-test.onnx", KILN_STATUS_SELF_TEST, "fails its self-test"},
    };
    KilnGenerator generator, copy;
    pthread_t thread;
    void *status;
    size_t i, length = 7;
    char few[9];

    if (count != 2) return 2;
    folder = arguments[1];
    MUST(strcmp(KILN_VERSION, kiln_version()) == 0);

    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        MUST(opened(wrong[i].name, 1, &generator) == wrong[i].status);
        MUST(generator.id == 0 && strstr(text, wrong[i].words) != NULL);
        MUST(strcmp(text, kiln_error_text()) == 0);
        MUST(strlen(kiln_status_text(wrong[i].status)) > 5);
    }
    MUST(opened("trivial.onnx", 0, &generator) == KILN_STATUS_ARGUMENT && strstr(text, "max_batch is 0") != NULL);
    MUST(opened("wide.onnx", 4096, &generator) == KILN_STATUS_MEMORY_LIMIT && strstr(text, "lower it") != NULL);

    MUST(opened("trivial.onnx", 4, &generator) == KILN_STATUS_OK && *text == '\0');
    MUST(kiln_generator_error(generator, text, sizeof text, &length) == KILN_STATUS_OK && length == 0 && *text == '\0');
    MUST(pthread_create(&thread, NULL, draw_too_much, &generator) == 0 && pthread_join(thread, &status) == 0);
    MUST((intptr_t)status == KILN_STATUS_ARGUMENT);
    MUST(strstr(kiln_error_text(), "len is 99") == NULL); /* which was said in the other thread */
    MUST(kiln_generator_error(generator, text, sizeof text, &length) == KILN_STATUS_OK);
    MUST(strstr(text, "len is 99 elements, allowed are 1 to 4 images") == text && strlen(text) == length);
    /* What does not fit is cut, and says how long it is. */
    MUST(kiln_generator_error(generator, few, sizeof few, &length) == KILN_STATUS_OK);
    MUST(strcmp(few, "len is 9") == 0 && strlen(text) == length);
    MUST(kiln_generator_error(generator, NULL, 0, &length) == KILN_STATUS_OK && strlen(text) == length);
    MUST(kiln_generator_error(generator, few, sizeof few, NULL) == KILN_STATUS_OK);
    MUST(kiln_generator_error(generator, NULL, 1, NULL) == KILN_STATUS_ARGUMENT);

    /* A clone has a text of its own, and a closed handle none. */
    MUST(kiln_clone(generator, &copy) == KILN_STATUS_OK);
    MUST(kiln_generator_error(copy, few, sizeof few, &length) == KILN_STATUS_OK && length == 0 && *few == '\0');
    MUST(kiln_close(copy) == KILN_STATUS_OK);
    MUST(kiln_generator_error(copy, few, sizeof few, &length) == KILN_STATUS_HANDLE);
    MUST(kiln_close(generator) == KILN_STATUS_OK);
    puts("as it should be");
    return 0;
}
