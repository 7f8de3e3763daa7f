/* Draws images of a seed into a PGM (grey) or PPM (colour) file, one below the other.
 *
 * usage: sample GENERATOR.onnx OUT.ppm [SEED [COUNT]]
 *
 * How to build it is in the README, under "In C and C++".
 */

#include <kiln.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Says what went wrong, if something did. */
static int failed(const char *what, KilnStatus status)
{
    if (status == KILN_STATUS_OK) {
        return 0;
    }
    fprintf(stderr, "%s: %s (status %d)\n", what, kiln_error_text(), (int)status);
    return 1;
}

/* Images come as planes, the file wants pixels: [n, C, H, W] becomes [n, H, W, C]. */
static int write_images(const char *path, const uint8_t *images, size_t count, const KilnImageShape *shape)
{
    const size_t plane = (size_t)shape->height * shape->width;
    FILE *file = fopen(path, "wb");
    int good;
    if (file == NULL) {
        perror(path);
        return 1;
    }
    fprintf(file, "%s\n%" PRIu32 " %zu\n255\n", shape->channels == 1 ? "P5" : "P6", shape->width,
            count * shape->height);
    for (size_t image = 0; image < count; image++) {
        for (size_t pixel = 0; pixel < plane; pixel++) {
            for (size_t channel = 0; channel < shape->channels; channel++) {
                putc(images[(image * shape->channels + channel) * plane + pixel], file);
            }
        }
    }
    good = !ferror(file);
    good = fclose(file) == 0 && good;
    if (!good) {
        perror(path);
    }
    return !good;
}

static int draw(KilnGenerator generator, const char *path, uint64_t seed, size_t count)
{
    KilnInfo info;
    uint8_t *images;
    int result;
    if (failed("info", kiln_info(generator, &info, sizeof info))) {
        return 1;
    }
    printf("images of %" PRIu32 " x %" PRIu32 " x %" PRIu32 ", latents of %" PRIu32 ", %" PRIu32 " classes, %s, at most %"
           PRIu32 " a call\n", info.image.channels, info.image.height, info.image.width, info.latent_dim, info.classes,
           info.precision == KILN_ELEMENT_F16 ? "half precision" : "single precision", info.max_batch);
    if (info.image.channels != 1 && info.image.channels != 3) {
        fprintf(stderr, "PGM and PPM files have 1 or 3 channels\n");
        return 1;
    }
    if (count < 1 || count > info.max_batch) {
        fprintf(stderr, "the count is %zu, allowed is 1 to %" PRIu32 "\n", count, info.max_batch);
        return 1;
    }
    images = malloc(count * info.image_len);
    if (images == NULL) {
        perror("images");
        return 1;
    }
    result = failed("sample", kiln_sample(generator, seed, 0, images, count * info.image_len)) ||
             write_images(path, images, count, &info.image);
    free(images);
    return result;
}

int main(int argc, char **argv)
{
    KilnOptions options;
    KilnGenerator generator;
    int result;
    if (argc < 3 || argc > 5) {
        fprintf(stderr, "usage: sample GENERATOR.onnx OUT.ppm [SEED [COUNT]]\n");
        return 2;
    }
    if (failed("options", kiln_options_default(&options, sizeof options))) {
        return 1;
    }
    options.max_batch = 16;
    if (failed("open", kiln_open(argv[1], &options, &generator))) {
        return 1;
    }
    printf("kiln %s\n", kiln_version());
    result = draw(generator, argv[2], argc > 3 ? strtoull(argv[3], NULL, 10) : 7,
                  argc > 4 ? (size_t)strtoull(argv[4], NULL, 10) : 4);
    if (failed("close", kiln_close(generator))) {
        result = 1;
    }
    return result;
}
