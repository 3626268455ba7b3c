#include "coordinator/masks/mask_outline.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/coordinator/masks/mask_pictures.h"

namespace lapidary {
namespace {

using Contours = std::vector<std::vector<double>>;
using Rows = std::vector<std::string>;

TEST(MaskOutline, Shapes) {
  EXPECT_EQ(outer_contours(runs_of_rows({"00", "00"})), Contours{});
  EXPECT_EQ(outer_contours(runs_of_rows({"000", "010", "000"})), (Contours{{1, 1, 2, 1, 2, 2, 1, 2}}));
  EXPECT_EQ(outer_contours(runs_of_rows({"11", "11", "11"})), (Contours{{0, 0, 2, 0, 2, 3, 0, 3}}));
  // An L, from its top on.
  EXPECT_EQ(outer_contours(runs_of_rows({"10", "11"})), (Contours{{0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 0, 2}}));
  // Pixels that only share a corner are apart.
  EXPECT_EQ(outer_contours(runs_of_rows({"01", "10"})),
            (Contours{{1, 0, 2, 0, 2, 1, 1, 1}, {0, 1, 1, 1, 1, 2, 0, 2}}));
  // A hole is left out; what lies in it is not.
  EXPECT_EQ(outer_contours(runs_of_rows({"11111", "10001", "10101", "10001", "11111"})),
            (Contours{{0, 0, 5, 0, 5, 5, 0, 5}, {2, 2, 3, 2, 3, 3, 2, 3}}));
}

/// Pixels that no way of pixels outside the mask, corners counted as ways, leads to from the picture's edge.
Rows without_holes(const Rows& rows) {
  const int height = static_cast<int>(rows.size()), width = static_cast<int>(rows.front().size());
  Rows filled(rows.size(), std::string(rows.front().size(), '1'));
  std::vector<std::pair<int, int>> reached;
  const auto reach = [&](int x, int y) {
    if (x < 0 || x >= width || y < 0 || y >= height) return;
    if (rows[y][x] == '1' || filled[y][x] == '0') return;
    filled[y][x] = '0';
    reached.emplace_back(x, y);
  };
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      if (x == 0 || y == 0 || x == width - 1 || y == height - 1) reach(x, y);
  while (!reached.empty()) {
    const auto [x, y] = reached.back();
    reached.pop_back();
    for (int dy = -1; dy <= 1; ++dy)
      for (int dx = -1; dx <= 1; ++dx) reach(x + dx, y + dy);
  }
  return filled;
}

/// A pixel is in where upright edges of some contour wind around its middle.
Rows filled(const Contours& contours, int width, int height) {
  Rows rows(static_cast<size_t>(height), std::string(static_cast<size_t>(width), '0'));
  for (const auto& contour : contours)
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) {
        int winding = 0;
        for (size_t i = 0; i < contour.size(); i += 2) {
          const size_t next = (i + 2) % contour.size();
          const double low = std::min(contour[i + 1], contour[next + 1]),
                       high = std::max(contour[i + 1], contour[next + 1]);
          if (contour[i] == contour[next] && contour[i] > x + 0.5 && low < y + 0.5 && high > y + 0.5)
            winding += contour[next + 1] > contour[i + 1] ? 1 : -1;
        }
        if (winding != 0) rows[static_cast<size_t>(y)][static_cast<size_t>(x)] = '1';
      }
  return rows;
}

TEST(MaskOutline, FilledTheyAreTheMaskWithoutItsHoles) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    const int width = 1 + static_cast<int>(random() % 12), height = 1 + static_cast<int>(random() % 12);
    const unsigned share = 1 + random() % 9;
    Rows rows(static_cast<size_t>(height), std::string(static_cast<size_t>(width), '0'));
    for (std::string& row : rows)
      for (char& pixel : row) pixel = random() % 10 < share ? '1' : '0';
    const Contours contours = outer_contours(runs_of_rows(rows));
    ASSERT_EQ(filled(contours, width, height), without_holes(rows)) << "round " << round;
    for (const auto& contour : contours)
      for (size_t i = 0; i < contour.size(); i += 2) {
        const size_t next = (i + 2) % contour.size(), after = (i + 4) % contour.size();
        // Each corner is a turn: edges are upright and level in turns.
        ASSERT_NE(contour[i] == contour[next], contour[next] == contour[after]) << "round " << round;
        ASSERT_NE(contour[i] == contour[next], contour[i + 1] == contour[next + 1]) << "round " << round;
      }
  }
}

}  // namespace
}  // namespace lapidary
