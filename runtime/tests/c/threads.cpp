// Many threads and one pool; a stream that is closed while another thread waits for a frame. Written from kiln.h alone.
//
// usage: threads GENERATOR.onnx SLOW.onnx OUT

#include <kiln.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

static void check(KilnStatus status, const char *what) {
    if (status != KILN_STATUS_OK) {
        std::cerr << what << ": " << kiln_error_text() << '\n';
        std::exit(1);
    }
}

static std::vector<std::uint8_t> drawn_by_many(const char *path) {
    KilnGenerator generator{};
    KilnPool pool{};
    KilnInfo info;
    check(kiln_open(path, nullptr, &generator), "open");
    check(kiln_info(generator, &info, sizeof info), "info");
    check(kiln_pool_open(generator, 2, &pool), "pool");
    check(kiln_close(generator), "close");

    constexpr std::size_t count = 24;
    std::vector<std::uint8_t> images(count * info.image_len);
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; i++) {
        threads.emplace_back([&] {
            KilnRequest request;
            check(kiln_request_default(&request, sizeof request), "request");
            request.seed = 7;
            for (std::size_t at = next++; at < count; at = next++) {
                request.first = at;
                bool drawn = false;
                while (!drawn) {
                    check(kiln_pool_draw_timeout(pool, &request, KILN_ELEMENT_U8, &images[at * info.image_len], info.image_len, 5,
                                                 &drawn), "draw");
                }
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    check(kiln_pool_close(pool), "close");
    return images;
}

static void close_under_who_waits(const char *path) {
    KilnGenerator generator{};
    KilnInfo info;
    KilnRequest request;
    KilnStream stream{};
    check(kiln_open(path, nullptr, &generator), "open");
    check(kiln_info(generator, &info, sizeof info), "info");
    check(kiln_request_default(&request, sizeof request), "request");
    check(kiln_stream_open(generator, &request, 1, &stream), "stream");
    check(kiln_close(generator), "close");
    KilnStatus last = KILN_STATUS_OK;
    std::thread waiting([&] {
        std::vector<std::uint8_t> frame(info.image_len);
        while (last == KILN_STATUS_OK) {
            last = kiln_stream_next(stream, frame.data(), frame.size());
        }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    check(kiln_stream_close(stream), "close");
    waiting.join();
    std::cout << "who waited has status " << last << '\n';
}

int main(int argc, char **argv) {
    if (argc != 4) {
        return 2;
    }
    const auto images = drawn_by_many(argv[1]);
    std::ofstream(argv[3], std::ios::binary).write(reinterpret_cast<const char *>(images.data()), static_cast<std::streamsize>(images.size()));
    close_under_who_waits(argv[2]);
    return 0;
}
