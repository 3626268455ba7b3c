#include "worker/images/draw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "worker/images/draw_font.h"

namespace lapidary {
namespace {

using Colour = std::array<uint8_t, 3>;

// Dark enough that white letters read well on all of them.
constexpr Colour kCycle[] = {{214, 40, 57}, {17, 112, 196}, {22, 138, 82},
                             {205, 92, 0},  {122, 56, 200}, {0, 128, 142}};
constexpr Colour kWhite{255, 255, 255};
constexpr Colour kInk{32, 34, 40};
constexpr int kLineHeight = kGlyphHeight + 2;

/// How large one dot of a letter is: one pixel on small pictures, two from about 400 pixels on, and so forth.
int text_scale(const Image& image) { return std::max(1, (std::min(image.width, image.height) + 200) / 300); }

/// Paints [x1, x2) x [y1, y2), as much of it as lies in the picture.
void fill(Image& image, int x1, int y1, int x2, int y2, Colour colour) {
  x1 = std::max(x1, 0), y1 = std::max(y1, 0);
  x2 = std::min(x2, image.width), y2 = std::min(y2, image.height);
  for (int y = y1; y < y2; ++y)
    for (int x = x1; x < x2; ++x)
      std::copy(colour.begin(), colour.end(), image.row(y) + 3 * static_cast<size_t>(x));
}

/// Half of each colour, so that the picture shows through.
void tint(Image& image, std::span<const uint32_t> mask, Colour colour) {
  const size_t height = static_cast<size_t>(image.height), pixels = height * static_cast<size_t>(image.width);
  if (std::accumulate(mask.begin(), mask.end(), size_t{0}) != pixels) return;
  size_t at = 0;
  for (size_t i = 0; i < mask.size(); at += mask[i++]) {
    if (i % 2 == 0) continue;
    for (size_t j = at; j < at + mask[i]; ++j) {
      uint8_t* pixel = image.row(static_cast<int>(j % height)) + 3 * (j / height);
      for (size_t c = 0; c < colour.size(); ++c) pixel[c] = static_cast<uint8_t>((pixel[c] + colour[c]) / 2);
    }
  }
}

/// One char per letter: bytes beyond ASCII are joined to one that has no glyph.
std::string ascii(std::string_view utf8) {
  std::string text;
  for (char c : utf8) {
    const bool continues = (static_cast<unsigned char>(c) & 0xc0) == 0x80;
    if (!continues) text += (static_cast<unsigned char>(c) & 0x80) != 0 ? '\x7f' : c;
  }
  return text;
}

void draw_text(Image& image, int x, int y, std::string_view text, int scale, Colour colour) {
  for (char c : text) {
    for (int gy = 0; gy < kGlyphHeight; ++gy)
      for (int gx = 0; gx < kGlyphWidth; ++gx)
        if (glyph_ink(c, gx, gy))
          fill(image, x + gx * scale, y + gy * scale, x + (gx + 1) * scale, y + (gy + 1) * scale, colour);
    x += kGlyphAdvance * scale;
    if (x >= image.width) return;
  }
}

/// The nearest pixel edge; far outside is as good as just outside.
int edge(double position, int size) {
  return static_cast<int>(std::lround(std::clamp(position, -8.0, size + 8.0)));
}

void draw_tag(Image& image, int left, int top, const std::string& label, int scale, Colour colour) {
  const std::string text = ascii(label).substr(0, 200);
  const int pad = 2 * scale;
  const int width = static_cast<int>(text.size()) * kGlyphAdvance * scale - scale + 2 * pad;
  const int height = kGlyphHeight * scale + 2 * pad - scale;
  const int x = std::max(0, std::min(left, image.width - width));
  const int y = std::clamp(top - height, 0, std::max(0, image.height - height));
  fill(image, x, y, x + width, y + height, colour);
  draw_text(image, x + pad, y + pad, text, scale, kWhite);
}

/// Lines of at most `columns` letters, broken at blanks where there are any.
std::vector<std::string> wrap(const std::string& text, size_t columns) {
  std::vector<std::string> lines(1);
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '\n') {
      lines.emplace_back();
      ++at;
    } else if (text[at] == ' ') {
      if (!lines.back().empty() && lines.back().size() < columns) lines.back() += ' ';
      ++at;
    } else {
      const size_t end = std::min(text.find_first_of(" \n", at), text.size());
      const size_t length = std::min(end - at, columns);
      if (!lines.back().empty() && lines.back().size() + length > columns) lines.emplace_back();
      lines.back() += text.substr(at, length);
      at += length;
    }
  }
  return lines;
}

}  // namespace

void draw_boxes(Image& image, std::span<const Box> boxes) {
  const int scale = text_scale(image);
  const int line = scale + 1;
  for (size_t i = 0; i < boxes.size(); ++i) tint(image, boxes[i].mask, kCycle[i % std::size(kCycle)]);
  for (size_t i = 0; i < boxes.size(); ++i) {
    const Box& box = boxes[i];
    if (!std::isfinite(box.x1) || !std::isfinite(box.y1) || !std::isfinite(box.x2) || !std::isfinite(box.y2))
      continue;
    const Colour colour = kCycle[i % std::size(kCycle)];
    const int left = edge(std::min(box.x1, box.x2), image.width),
              right = edge(std::max(box.x1, box.x2), image.width);
    const int top = edge(std::min(box.y1, box.y2), image.height);
    const int bottom = edge(std::max(box.y1, box.y2), image.height);
    fill(image, left, top, right, std::min(bottom, top + line), colour);
    fill(image, left, std::max(top, bottom - line), right, bottom, colour);
    fill(image, left, top, std::min(right, left + line), bottom, colour);
    fill(image, std::max(left, right - line), top, right, bottom, colour);
    if (!box.label.empty()) draw_tag(image, left, top, box.label, scale, colour);
  }
}

Image caption_strip(const Image& image, std::string_view caption) {
  const int scale = text_scale(image);
  const int width = std::max(image.width, 240);
  const int margin = 5 * scale;
  const int columns = std::max(1, (width - 2 * margin + scale) / (kGlyphAdvance * scale));
  const std::vector<std::string> lines = wrap(ascii(caption), static_cast<size_t>(columns));
  const int text_height = static_cast<int>(lines.size()) * kLineHeight * scale;

  Image out = make_image(width, image.height + text_height + 2 * margin);
  std::fill(out.rgb.begin(), out.rgb.end(), uint8_t{255});
  const size_t indent = static_cast<size_t>((width - image.width) / 2) * 3;
  for (int y = 0; y < image.height; ++y)
    std::copy(image.row(y), image.row(y) + image.row_bytes(), out.row(y) + indent);
  int y = image.height + margin + scale;
  for (const std::string& text : lines) {
    draw_text(out, margin, y, text, scale, kInk);
    y += kLineHeight * scale;
  }
  return out;
}

}  // namespace lapidary
