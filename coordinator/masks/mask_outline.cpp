#include "coordinator/masks/mask_outline.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace lapidary {
namespace {

struct Point {
  int x = 0, y = 0;
  bool operator==(const Point&) const = default;
};

/// The part of a mask in which pixels are in, as bits.
class Bits {
 public:
  explicit Bits(const MaskRuns& runs) {
    find_bounds(runs);
    if (empty()) return;
    bits_.resize(static_cast<size_t>(right_ - left_) * static_cast<size_t>(bottom_ - top_));
    each_run(runs, [&](int x, int y, int end) {
      for (; y < end; ++y) bits_[place(x, y)] = true;
    });
  }

  bool empty() const { return right_ <= left_; }
  int left() const { return left_; }
  int top() const { return top_; }
  int right() const { return right_; }
  int bottom() const { return bottom_; }
  size_t size() const { return bits_.size(); }
  size_t place(int x, int y) const {
    return static_cast<size_t>(y - top_) * static_cast<size_t>(right_ - left_) +
           static_cast<size_t>(x - left_);
  }
  /// Outside of it all is out.
  bool in(int x, int y) const {
    return x >= left_ && x < right_ && y >= top_ && y < bottom_ && bits_[place(x, y)];
  }

 private:
  /// Calls use(x, first y, end y) for each piece of a column that is in.
  template <class Use>
  static void each_run(const MaskRuns& runs, const Use& use) {
    int64_t at = 0;
    for (size_t i = 0; i < runs.counts.size(); ++i) {
      const int64_t end = at + runs.counts[i];
      for (; i % 2 == 1 && at < end;) {
        const int64_t x = at / runs.height, y = at % runs.height;
        const int64_t stop = std::min<int64_t>(runs.height, y + end - at);
        use(static_cast<int>(x), static_cast<int>(y), static_cast<int>(stop));
        at += stop - y;
      }
      at = end;
    }
  }

  void find_bounds(const MaskRuns& runs) {
    left_ = runs.width, top_ = runs.height;
    each_run(runs, [&](int x, int y, int end) {
      left_ = std::min(left_, x), right_ = std::max(right_, x + 1);
      top_ = std::min(top_, y), bottom_ = std::max(bottom_, end);
    });
  }

  int left_ = 0, top_ = 0, right_ = 0, bottom_ = 0;
  std::vector<bool> bits_;
};

/// Directions in the order of right turns: east, south, west, north.
constexpr Point kSteps[] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
constexpr int kTurnRight = 1, kStraight = 0, kTurnLeft = 3;
/// The pixel to the right of an edge that leaves a corner in that direction, beside the corner.
constexpr Point kRightOf[] = {{0, 0}, {-1, 0}, {-1, -1}, {0, -1}};

/// Walks with the mask at the right hand. Edges between a pixel that is in and one above that is out are
/// walked east; each belongs to one contour.
class Tracer {
 public:
  explicit Tracer(const Bits& bits) : bits_(bits), seen_(bits.size()) {}

  bool is_new_start(int x, int y) const {
    return bits_.in(x, y) && !bits_.in(x, y - 1) && !seen_[bits_.place(x, y)];
  }

  /// None where what lies within is a hole.
  std::optional<std::vector<double>> follow(Point start) {
    std::vector<double> corners;
    Point at = start;
    int direction = 0;
    int64_t doubled_area = 0;
    do {
      if (direction == 0) seen_[bits_.place(at.x, at.y)] = true;
      const Point next{at.x + kSteps[direction].x, at.y + kSteps[direction].y};
      doubled_area += int64_t{at.x} * next.y - int64_t{next.x} * at.y;
      at = next;
      const int turn = turn_at(at, direction);
      direction = (direction + turn) % 4;
      if (turn != kStraight)
        corners.insert(corners.end(), {static_cast<double>(at.x), static_cast<double>(at.y)});
    } while (!(at == start && direction == 0));
    if (doubled_area < 0) return std::nullopt;
    std::rotate(corners.begin(), corners.end() - 2, corners.end());  // the start is the last one
    return corners;
  }

 private:
  bool in_beside(Point corner, int direction) const {
    return bits_.in(corner.x + kRightOf[direction].x, corner.y + kRightOf[direction].y);
  }

  int turn_at(Point corner, int direction) const {
    // Ahead at the right; where that is out the same pixel is walked around, so that pixels which only share
    // the corner stay apart.
    if (!in_beside(corner, direction)) return kTurnRight;
    return in_beside(corner, (direction + kTurnLeft) % 4) ? kTurnLeft : kStraight;
  }

  const Bits& bits_;
  std::vector<bool> seen_;  // the edge above a pixel
};

}  // namespace

std::vector<std::vector<double>> outer_contours(const MaskRuns& runs) {
  const Bits bits(runs);
  Tracer tracer(bits);
  std::vector<std::vector<double>> contours;
  if (bits.empty()) return contours;
  for (int y = bits.top(); y < bits.bottom(); ++y)
    for (int x = bits.left(); x < bits.right(); ++x)
      if (tracer.is_new_start(x, y))
        if (auto contour = tracer.follow({x, y})) contours.push_back(std::move(*contour));
  return contours;
}

}  // namespace lapidary
