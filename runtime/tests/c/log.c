/* Who asks for ONNX Runtime's log in time gets it, and who asks too late hears so.
 * usage: log MODEL */

#include <kiln.h>
#include <stdio.h>
#include <string.h>

struct Count {
    unsigned long messages, letters;
    uint32_t least;
};

static void count(void *user, uint32_t severity, const char *text) {
    struct Count *found = user;
    found->messages++;
    found->letters += strlen(text);
    if (severity < found->least) found->least = severity;
}

#define MUST(condition) \
    if (!(condition)) return fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, kiln_error_text()), 1

int main(int number, char **arguments) {
    static struct Count found = {0, 0, 99};
    KilnGenerator generator;
    MUST(number == 2);
    MUST(kiln_log_to(NULL, &found, KILN_SEVERITY_INFO) == KILN_STATUS_ARGUMENT);
    MUST(kiln_log_to(count, &found, 5) == KILN_STATUS_ARGUMENT);
    MUST(kiln_log_to(count, &found, KILN_SEVERITY_INFO) == KILN_STATUS_OK);
    MUST(kiln_log_to(count, NULL, KILN_SEVERITY_INFO) == KILN_STATUS_ARGUMENT);
    MUST(strstr(kiln_error_text(), "another function") != NULL);
    MUST(found.messages == 0);
    MUST(kiln_open(arguments[1], NULL, &generator) == KILN_STATUS_OK);
    MUST(found.messages > 3 && found.letters > found.messages && found.least == KILN_SEVERITY_INFO);
    MUST(kiln_log_to(count, &found, KILN_SEVERITY_INFO) == KILN_STATUS_ARGUMENT);
    MUST(strstr(kiln_error_text(), "is loaded already") != NULL);
    MUST(kiln_close(generator) == KILN_STATUS_OK);
    return 0;
}
