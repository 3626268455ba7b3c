// Writes pictures of noise, whose files are as large as their pixels: noise_pictures FOLDER COUNT SIDE
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include "worker/images/image.h"

int main(int count, char** arguments) {
  if (count != 4) return 2;
  const std::filesystem::path folder = arguments[1];
  const int pictures = std::atoi(arguments[2]), side = std::atoi(arguments[3]);
  std::filesystem::create_directories(folder);
  for (int i = 0; i < pictures; ++i) {
    std::mt19937 numbers(static_cast<unsigned>(i));
    lapidary::Image image;
    image.width = image.height = side;
    image.rgb.resize(static_cast<size_t>(side) * static_cast<size_t>(side) * 3);
    for (uint8_t& value : image.rgb) value = static_cast<uint8_t>(numbers());
    lapidary::write_png(folder / (std::to_string(i) + ".png"), image);
  }
  return 0;
}
