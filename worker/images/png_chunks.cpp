#include "worker/images/png_chunks.h"

#include <zlib.h>

#include <algorithm>
#include <string_view>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr size_t kSignature = 8;
constexpr size_t kMaxPieces = 1 << 20;  // a file of 1 GiB whose writer cuts its pixels small has as many

uint32_t be32(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

bool is_of_a_name(uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// One chunk, and what of the file follows its data.
struct Chunk {
  std::string_view name;          // four letters; empty when there is none here
  std::span<const uint8_t> data;  // shorter than `length` where the file ends inside
  size_t length = 0;              // as its header says
  std::span<const uint8_t> rest;  // from its checksum on

  bool cut() const { return data.size() < length; }
};

Chunk chunk_at(std::span<const uint8_t> bytes) {
  Chunk chunk;
  if (bytes.size() < 8 || !std::all_of(bytes.begin() + 4, bytes.begin() + 8, is_of_a_name)) return chunk;
  chunk.name = {reinterpret_cast<const char*>(bytes.data()) + 4, 4};
  chunk.length = be32(bytes.data());
  bytes = bytes.subspan(8);
  chunk.data = bytes.first(std::min(bytes.size(), chunk.length));
  chunk.rest = bytes.subspan(chunk.data.size());
  return chunk;
}

std::span<const uint8_t> behind(const Chunk& chunk) {
  return chunk.rest.subspan(std::min<size_t>(4, chunk.rest.size()));
}

void check_whole(const Chunk& chunk) {
  if (chunk.cut())
    fail("broken PNG: the file ends early (truncated): its chunk ", chunk.name, " has ", chunk.data.size(),
         " of ", chunk.length, " bytes");
}

void check_checksum(const Chunk& chunk) {
  check_whole(chunk);
  if (chunk.rest.size() < 4)
    fail("broken PNG: the file ends early (truncated) in the checksum of its chunk ", chunk.name);
  const auto* name = reinterpret_cast<const uint8_t*>(chunk.name.data());
  const auto sum = crc32_z(crc32_z(0, name, 4), chunk.data.data(), chunk.data.size());
  if (sum != be32(chunk.rest.data())) fail("broken PNG: the checksum of its chunk ", chunk.name, " is wrong");
}

void take_header(PngChunks& png, std::span<const uint8_t> data) {
  if (data.size() < 13) fail("broken PNG: its header has ", data.size(), " bytes instead of 13");
  if (data[11] != 0)
    fail("broken PNG: its header asks for filters of kind ", int{data[11]}, "; only 0 is known");
  png.width = be32(data.data());
  png.height = be32(data.data() + 4);
  png.bit_depth = data[8];
  png.colour_type = data[9];
  png.interlaced = data[12] != 0;
}

void take_palette(PngChunks& png, std::span<const uint8_t> data) {
  constexpr uint8_t kOfPalette = 3;
  if (png.colour_type != kOfPalette) return;
  if (data.size() > 768) fail("broken PNG: its palette has ", data.size(), " bytes, more than 768");
  png.palette = data.first(data.size() - data.size() % 3);
}

/// A second word about the animation takes back the first.
void take_animation(PngChunks& png, std::span<const uint8_t> data) {
  if (data.size() < 8) fail("broken PNG: its chunk acTL has ", data.size(), " bytes instead of 8");
  const uint32_t frames = be32(data.data());
  if (png.frames > 0)
    png.frames = 0;
  else if (frames <= 0x80000000)
    png.frames = frames;
}

/// The chunk that the pixels begin with.
Chunk read_to_pixels(PngChunks& png, std::span<const uint8_t> bytes) {
  for (bool is_frame = false;;) {
    const Chunk chunk = chunk_at(bytes);
    if (chunk.name.empty())
      fail("broken PNG: ", bytes.size() < 8 ? "the file ends early (truncated), before its pixels"
                                            : "a chunk before its pixels has no name of letters");
    if (chunk.name == "IDAT") {
      if (png.frames > 0 && !is_frame) ++png.frames;  // a picture for readers that know no animations
      return chunk;
    }
    if (chunk.name == "IEND") fail("broken PNG: it holds no pixels");
    check_checksum(chunk);
    if (chunk.name == "IHDR") take_header(png, chunk.data);
    if (chunk.name == "PLTE") take_palette(png, chunk.data);
    if (chunk.name == "tRNS") png.transparency = chunk.data;
    if (chunk.name == "acTL") take_animation(png, chunk.data);
    if (chunk.name == "fcTL") is_frame = true;
    bytes = behind(chunk);
  }
}

}  // namespace

PngChunks read_png_chunks(std::span<const uint8_t> bytes) {
  PngChunks png;
  Chunk chunk = read_to_pixels(png, bytes.subspan(kSignature));
  for (; chunk.name == "IDAT"; chunk = chunk_at(behind(chunk))) {
    if (chunk.data.empty()) continue;
    if (png.data.size() == kMaxPieces)
      fail("broken PNG: its pixels are cut into more than ", kMaxPieces, " chunks: save it anew");
    png.data.push_back(chunk.data);
    png.data_bytes += chunk.data.size();
  }
  for (; !chunk.name.empty() && chunk.name != "IEND"; chunk = chunk_at(behind(chunk))) {
    if (chunk.name == "fcTL" && png.frames > 1) break;
    check_whole(chunk);
  }
  return png;
}

}  // namespace lapidary
