#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

/// Which pixels of a picture are in a mask: how many are out, then in, then out, … down the first column,
/// then down the next one. The first count alone may be 0.
struct MaskRuns {
  int height = 0, width = 0;
  std::vector<uint32_t> counts;  // they sum to height * width

  /// Pixels that are in.
  int64_t area() const;
};

/// Joins pieces to runs.
class MaskRunBuilder {
 public:
  MaskRunBuilder(int height, int width);

  /// So many pixels more, in or out; may be none.
  void add(bool in, int64_t pixels);
  /// More of a column, a byte each.
  void add(std::span<const uint8_t> in);
  /// The rest is out.
  MaskRuns finish();

 private:
  MaskRuns runs_;
  int64_t left_;          // pixels of the picture that are still to come
  bool last_in_ = false;  // what the last count counts
};

/// The text that COCO's tools have for the counts ("compressed RLE").
std::string coco_counts(const MaskRuns& runs);

/// The inverse. Throws a sentence where the text is none, or is not of a picture of this size.
MaskRuns runs_of_coco_counts(int height, int width, std::string_view counts);

}  // namespace lapidary
