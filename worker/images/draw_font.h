#pragma once

namespace lapidary {

constexpr int kGlyphWidth = 5;
constexpr int kGlyphHeight = 9;   ///< seven rows on the line, two for tails below it
constexpr int kGlyphAdvance = 6;  ///< from one letter to the next

/// Whether the glyph of an ASCII character has ink at (x, y), both from its upper left corner; characters
/// without a glyph are a hollow box.
bool glyph_ink(char character, int x, int y);

}  // namespace lapidary
