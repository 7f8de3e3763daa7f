/* Uses every function of kiln.h, written from it alone: draws images of the fixtures into a file, one after the other, which
 * the test compares with what the crate draws.
 *
 * usage: everything GENERATOR.onnx WEIGHTS.safetensors CLASSES.onnx OUT
 */

#include <kiln.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(call) check(call, #call, __LINE__)
#define HOLDS(condition) ((condition) ? (void)0 : (fprintf(stderr, "line %d: not %s\n", __LINE__, #condition), exit(1)))

static void check(KilnStatus status, const char *call, int line)
{
    if (status != KILN_STATUS_OK) {
        fprintf(stderr, "line %d: %s: %s (status %d)\n", line, call, kiln_error_text(), (int)status);
        exit(1);
    }
}

static FILE *out;
static uint8_t *pixels;
static size_t one;

static void hear(void *user, uint32_t severity, const char *text)
{
    (void)user, (void)severity, (void)text;
}

static void write_images(size_t count)
{
    HOLDS(fwrite(pixels, one, count, out) == count);
}

static void *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    char *bytes = malloc(1 << 24);
    HOLDS(file != NULL && bytes != NULL);
    *len = fread(bytes, 1, 1 << 24, file);
    fclose(file);
    return bytes;
}

static KilnRequest new_request(uint32_t latents)
{
    KilnRequest request;
    CHECK(kiln_request_default(&request, sizeof request));
    request.latents = latents;
    request.walk_steps = 3;
    return request;
}

static void latents(KilnGenerator generator, size_t dim)
{
    const uint64_t seeds[3] = {5, 1, 9};
    float *z = malloc(4 * dim * sizeof *z), *mean = z + 3 * dim;
    KilnRequest request;
    HOLDS(z != NULL);
    CHECK(kiln_fill_latent(5, 0, z, dim));
    CHECK(kiln_fill_latent(1, 0, z + dim, dim));
    CHECK(kiln_walk(z, z + dim, 0.5, mean, dim));
    CHECK(kiln_fill_truncated(9, 0, 0.5f, mean, z + 2 * dim, dim));

    request = new_request(KILN_LATENTS_GIVEN);
    request.given = z;
    request.given_len = 3 * dim;
    CHECK(kiln_draw(generator, &request, KILN_ELEMENT_U8, pixels, 3 * one));
    write_images(3);
    request.latents = KILN_LATENTS_TOUR_GIVEN;
    request.tour_closed = 1;
    request.first = 5;
    CHECK(kiln_draw(generator, &request, KILN_ELEMENT_U8, pixels, 4 * one));
    write_images(4);
    request = new_request(KILN_LATENTS_SEEDS);
    request.seeds = seeds;
    request.seeds_len = 3;
    request.truncation = 0.5f;
    request.truncation_mean = mean;
    request.truncation_mean_len = dim;
    CHECK(kiln_draw(generator, &request, KILN_ELEMENT_U8, pixels, 3 * one));
    write_images(3);
    request.latents = KILN_LATENTS_TOUR_SEEDS;
    CHECK(kiln_draw(generator, &request, KILN_ELEMENT_U8, pixels, 4 * one));
    write_images(4);
    free(z);
}

static void layouts(KilnGenerator generator)
{
    const KilnRequest request = new_request(KILN_LATENTS_WALK);
    uint8_t *rgb = malloc(one);
    KilnInfo info;
    HOLDS(rgb != NULL);
    CHECK(kiln_info(generator, &info, sizeof info));
    CHECK(kiln_draw_interleaved(generator, &request, 1, info.image.channels, 0, 0, KILN_ELEMENT_U8, rgb, one));
    CHECK(kiln_draw(generator, &request, KILN_ELEMENT_U8, pixels, one));
    HOLDS(rgb[0] == pixels[0] && rgb[1] == pixels[one / info.image.channels]);
    free(rgb);
}

static void streams(KilnGenerator generator)
{
    const KilnRequest request = new_request(KILN_LATENTS_WALK);
    KilnStream stream;
    bool ready = false;
    uint64_t missed, none = 0;
    size_t length;
    CHECK(kiln_stream_open(generator, &request, 4, &stream));
    CHECK(kiln_stream_next(stream, pixels, one));
    while (!ready) {
        CHECK(kiln_stream_try_next(stream, pixels + one, one, &ready));
        none += !ready;
    }
    CHECK(kiln_stream_next_timeout(stream, pixels + 2 * one, one, 600000, &ready));
    CHECK(kiln_stream_missed(stream, &missed));
    HOLDS(ready && missed == none);
    HOLDS(kiln_stream_next(stream, pixels, one - 1) == KILN_STATUS_ARGUMENT);
    CHECK(kiln_stream_error(stream, NULL, 0, &length));
    HOLDS(length == strlen(kiln_error_text()));
    write_images(3);
    CHECK(kiln_stream_close(stream));
    HOLDS(kiln_stream_next(stream, pixels, one) == KILN_STATUS_HANDLE && strstr(kiln_error_text(), "closed") != NULL);
}

static void pools(KilnGenerator generator)
{
    KilnRequest request = new_request(KILN_LATENTS_SEED);
    KilnPool pool;
    bool drawn = false;
    size_t length;
    CHECK(kiln_pool_open(generator, 2, &pool));
    CHECK(kiln_pool_warm_up(pool, 1));
    CHECK(kiln_pool_sample(pool, 8, 0, pixels, one));
    request.seed = 8;
    request.first = 1;
    CHECK(kiln_pool_draw(pool, &request, KILN_ELEMENT_U8, pixels + one, one));
    request.first = 2;
    CHECK(kiln_pool_draw_timeout(pool, &request, KILN_ELEMENT_U8, pixels + 2 * one, one, 0, &drawn));
    HOLDS(drawn);
    HOLDS(kiln_pool_draw(pool, &request, KILN_ELEMENT_U8, pixels, one - 1) == KILN_STATUS_ARGUMENT);
    CHECK(kiln_pool_error(pool, NULL, 0, &length));
    HOLDS(length > 0 && length == strlen(kiln_error_text()));
    write_images(3);
    CHECK(kiln_pool_close(pool));
    HOLDS(kiln_pool_close(pool) == KILN_STATUS_HANDLE);
}

static void texts(KilnGenerator generator, const KilnEngine *engine)
{
    char text[64];
    size_t length;
    HOLDS(kiln_sample(generator, 7, 0, pixels, 0) == KILN_STATUS_ARGUMENT);
    CHECK(kiln_generator_error(generator, text, sizeof text, &length));
    HOLDS(strncmp(text, "len is 0 elements", 17) == 0 && length == strlen(kiln_error_text()));
    HOLDS(*kiln_status_text(KILN_STATUS_ARGUMENT) != '\0');
    CHECK(kiln_info_text(generator, KILN_TEXT_RECIPE, NULL, 0, &length));
    CHECK(kiln_info_text(generator, KILN_TEXT_TRAINER, text, sizeof text, &length));
    printf("trainer: %s\n", text);
    CHECK(kiln_why_cpu(generator, text, sizeof text, NULL));
    printf("why on the CPU: %s\n", text);
    printf("ONNX Runtime: %s (%s) with %s\n", engine->version, engine->path, engine->providers);
}

static void classes(const char *path)
{
    KilnGenerator generator;
    const char *name;
    uint32_t number;
    CHECK(kiln_open(path, NULL, &generator));
    CHECK(kiln_class_name(generator, 1, &name));
    printf("class 1: %s\n", name);
    CHECK(kiln_class_named(generator, name, &number));
    HOLDS(number == 1);
    CHECK(kiln_close(generator));
}

int main(int argc, char **argv)
{
    KilnOptions options;
    KilnEngine engine;
    KilnInfo info;
    KilnGenerator generator, clone, in_memory;
    void *bytes;
    size_t len;
    HOLDS(argc == 5);
    out = fopen(argv[4], "wb");
    HOLDS(out != NULL);
    CHECK(kiln_log_to(hear, NULL, KILN_SEVERITY_ERROR));
    CHECK(kiln_engine(&engine, sizeof engine));
    CHECK(kiln_load(engine.path));
    CHECK(kiln_options_default(&options, sizeof options));
    options.max_batch = 4;
    CHECK(kiln_open(argv[1], &options, &generator));
    CHECK(kiln_info(generator, &info, sizeof info));
    HOLDS(info.buffer_bytes > 0 && info.max_batch == 4);
    one = info.image_len;
    pixels = malloc(4 * one);
    HOLDS(pixels != NULL);
    printf("kiln %s\n", kiln_version());

    CHECK(kiln_warm_up(generator, 2));
    CHECK(kiln_cancel(generator));
    CHECK(kiln_sample(generator, 7, 0, pixels, 2 * one));
    write_images(2);
    latents(generator, info.latent_dim);
    layouts(generator);
    streams(generator);
    pools(generator);
    texts(generator, &engine);
    classes(argv[3]);

    bytes = read_file(argv[1], &len);
    CHECK(kiln_open_memory(bytes, len, NULL, 0, &options, &in_memory));
    free(bytes);
    CHECK(kiln_clone(in_memory, &clone));
    CHECK(kiln_close(in_memory));
    CHECK(kiln_swap_weights(clone, argv[2]));
    CHECK(kiln_sample(clone, 7, 0, pixels, 2 * one));
    write_images(2);
    CHECK(kiln_close(clone));
    CHECK(kiln_close(generator));
    free(pixels);
    HOLDS(fclose(out) == 0);
    return 0;
}
