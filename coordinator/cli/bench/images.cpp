#include <cmath>
#include <cstdint>
#include <cstdio>
// jpeglib.h needs size_t and FILE declared before it.
#include <jpeglib.h>

#include <cstdlib>

#include "configs/error.h"
#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/option_table.h"
#include "worker/images/image.h"
#include "worker/images/resize.h"

namespace lapidary {
namespace {

struct ImageBench {
  int width = 1152, height = 896;  // about a megapixel
  int target = 224;
  int repeats = 60;
  ImageProcessor processor = ImageProcessor::pillow;
};

/// A picture with what photographs have: smooth shading, edges and grain; JPEG's work depends on all three.
Image photograph(int width, int height) {
  Image image = make_image(width, height);
  uint32_t state = 1;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      state = state * 1664525u + 1013904223u;
      const double grain = static_cast<double>(state >> 24) / 16 - 8;
      const double edge = (x / 37 + y / 53) % 2 == 0 ? 40 : 0;
      const double shade = 100 + 60 * std::sin(x * 0.011) * std::cos(y * 0.017);
      uint8_t* pixel = image.row(y) + 3 * x;
      for (int c = 0; c < 3; ++c)
        pixel[c] = static_cast<uint8_t>(std::clamp(shade + edge * (c + 1) / 3 + grain, 0.0, 255.0));
    }
  return image;
}

/// Quality 90, 4:2:0: what cameras write.
std::vector<uint8_t> encode_jpeg(const Image& image) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_width = static_cast<JDIMENSION>(image.width);
  jpeg.image_height = static_cast<JDIMENSION>(image.height);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 90, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row = const_cast<uint8_t*>(image.row(static_cast<int>(jpeg.next_scanline)));
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::vector<uint8_t> file(bytes, bytes + size);
  jpeg_destroy_compress(&jpeg);
  std::free(bytes);
  return file;
}

int run_images(const ImageBench& bench) {
  const Image original = photograph(bench.width, bench.height);
  const std::vector<uint8_t> file = encode_jpeg(original);
  const Image decoded = decode_image(file);
  // The check: lossy, but the same picture. Grain of ±8 and quality 90 stay within a few grey levels on
  // average.
  double difference = 0;
  for (size_t i = 0; i < decoded.rgb.size(); ++i) difference += std::abs(decoded.rgb[i] - original.rgb[i]);
  difference /= static_cast<double>(decoded.rgb.size());
  if (decoded.width != bench.width || decoded.height != bench.height || difference > 12)
    fail("the decoded picture differs from the original by ", difference,
         " grey levels on average, more than 12");

  Image out;
  const double decode = median_seconds(bench.repeats, [&] { out = decode_image(file); });
  const double resize = median_seconds(
      bench.repeats, [&] { out = resize_bicubic(decoded, bench.target, bench.target, bench.processor); });
  std::printf("# one core; JPEG %d x %d, %zu bytes, to %d x %d; goal 60 images/s\n", bench.width,
              bench.height, file.size(), bench.target, bench.target);
  std::printf("%-10s %8s\n", "part", "ms");
  std::printf("%-10s %8.2f\n%-10s %8.2f\n", "decode", decode * 1e3, "resize", resize * 1e3);
  std::printf("images/s   %8.1f\n", 1 / (decode + resize));
  return 0;
}

}  // namespace

void add_bench_images(CLI::App& bench, SelectedCommand& chosen) {
  auto options = std::make_shared<ImageBench>();
  CLI::App& command = *bench.add_subcommand("images", "JPEG file to resized pixels, on one core");
  command.add_option("--width", options->width, "Pixels")->check(between(16, 16384))->capture_default_str();
  command.add_option("--height", options->height, "Pixels")->check(between(16, 16384))->capture_default_str();
  command.add_option("--target", options->target, "Side after the resize")
      ->check(between(14, 4096))
      ->capture_default_str();
  command.add_option("--repeats", options->repeats, "Timed runs")
      ->check(between(1, 100000))
      ->capture_default_str();
  command
      .add_option_function<std::string>(
          "--image-processor",
          [options](const std::string& name) { options->processor = enum_named<ImageProcessor>(name); },
          "Whose resize")
      ->check(CLI::IsMember(std::vector<std::string>{"torchvision", "pillow"}))
      ->default_str("pillow");
  when_selected(command, chosen, [options] { return run_images(*options); });
}

}  // namespace lapidary
