// Shows frames of a walk through a generator's images in the terminal, drawn ahead by a thread of the library's.
//
// usage: stream GENERATOR.onnx [FRAMES [RAW]]
//
// Writes the frames' bytes, [FRAMES, channels, height, width], to the file RAW, too. How to build it is in the README,
// under "In C and C++".

#include <kiln.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace kiln {

class Error : public std::runtime_error {
public:
    explicit Error(KilnStatus status) : std::runtime_error(kiln_error_text()), status(status) {}
    KilnStatus status;
};

inline void check(KilnStatus status) {
    if (status != KILN_STATUS_OK) {
        throw Error(status);
    }
}

// A handle that is closed with its owner. Null handles are no error here: there is nothing to close.
template <typename Handle, KilnStatus (*close)(Handle)>
class Owner {
public:
    Owner() = default;
    Owner(Owner &&other) noexcept : handle(std::exchange(other.handle, Handle{})) {}
    Owner &operator=(Owner &&other) noexcept {
        std::swap(handle, other.handle);
        return *this;
    }
    ~Owner() {
        if (handle.id != 0) {
            close(handle);
        }
    }

protected:
    Handle handle{};
};

class Generator : public Owner<KilnGenerator, kiln_close> {
public:
    explicit Generator(const std::string &path, const KilnOptions *options = nullptr) {
        check(kiln_open(path.c_str(), options, &handle));
    }
    KilnInfo info() const {
        KilnInfo info;
        check(kiln_info(handle, &info, sizeof info));
        return info;
    }
    KilnGenerator get() const { return handle; }
};

class Stream : public Owner<KilnStream, kiln_stream_close> {
public:
    // Draws with a clone of the generator, which need not live on.
    Stream(const Generator &generator, const KilnRequest &request, std::size_t frames) {
        check(kiln_stream_open(generator.get(), &request, frames, &handle));
    }
    bool try_next(std::vector<std::uint8_t> &frame) {
        bool ready = false;
        check(kiln_stream_try_next(handle, frame.data(), frame.size(), &ready));
        return ready;
    }
    void next(std::vector<std::uint8_t> &frame) { check(kiln_stream_next(handle, frame.data(), frame.size())); }
    std::uint64_t missed() const {
        std::uint64_t missed = 0;
        check(kiln_stream_missed(handle, &missed));
        return missed;
    }
};

} // namespace kiln

static void show(const std::vector<std::uint8_t> &frame, const KilnImageShape &shape) {
    static const std::string shades = " .:-=+*#%@";
    for (std::size_t y = 0; y < shape.height; y++) {
        std::string line;
        for (std::size_t x = 0; x < shape.width; x++) {
            line += shades[frame[y * shape.width + x] * shades.size() / 256];
        }
        std::cout << line << '\n';
    }
    std::cout << '\n';
}

static void run(const std::string &path, std::size_t count, const char *raw) {
    kiln::Generator generator(path);
    const KilnInfo info = generator.info();
    std::cout << "kiln " << kiln_version() << ", images of " << info.image.channels << " x " << info.image.height << " x "
              << info.image.width << '\n';

    KilnRequest request;
    kiln::check(kiln_request_default(&request, sizeof request));
    request.latents = KILN_LATENTS_WALK;
    request.seed = 7;
    request.walk_steps = 10;
    kiln::Stream stream(generator, request, 8);

    std::ofstream file;
    if (raw != nullptr) {
        file.exceptions(std::ios::failbit | std::ios::badbit);
        file.open(raw, std::ios::binary);
    }
    std::vector<std::uint8_t> frame(info.image_len);
    stream.next(frame);
    for (std::size_t shown = 0; shown < count; shown++) {
        show(frame, info.image);
        if (raw != nullptr) {
            file.write(reinterpret_cast<const char *>(frame.data()), static_cast<std::streamsize>(frame.size()));
        }
        // A game would show the frame before once more, and go on.
        while (!stream.try_next(frame)) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
    if (raw != nullptr) {
        file.close();
    }
    std::cout << "not ready: " << stream.missed() << " times\n";
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 4) {
        std::cerr << "usage: stream GENERATOR.onnx [FRAMES [RAW]]\n";
        return 2;
    }
    try {
        run(argv[1], argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10, argc > 3 ? argv[3] : nullptr);
        return 0;
    } catch (const std::exception &error) {
        std::cerr << "stream: " << error.what() << '\n';
        return 1;
    }
}
