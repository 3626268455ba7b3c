#include "coordinator/masks/mask_runs.h"

#include <gtest/gtest.h>

#include "configs/error.h"
#include "configs/json.h"
#include "tests/coordinator/masks/mask_pictures.h"
#include "tests/support/error_text.h"
#include "tests/support/test_data.h"

namespace lapidary {
namespace {

TEST(MaskRuns, CountsAreThoseOfPycocotools) {
  const auto golden = read_json_file(test_data() / "tests/golden/masks/runs.json");
  ASSERT_GT(golden.as_array().size(), 10u);
  for (const auto& value : golden.as_array()) {
    const JsonObject expected(value, "runs.json");
    const std::vector<std::string> rows = expected.strings("rows");
    const std::string counts = expected.required_string("counts");
    const MaskRuns runs = runs_of_rows(rows);
    EXPECT_EQ(coco_counts(runs), counts);
    EXPECT_EQ(runs.area(), expected.required_int("area"));
    const MaskRuns back = runs_of_coco_counts(runs.height, runs.width, counts);
    EXPECT_EQ(back.counts, runs.counts);
    EXPECT_EQ(rows_of_runs(back), rows);
  }
}

TEST(MaskRuns, PiecesOfOneKindBecomeOneRun) {
  MaskRunBuilder builder(4, 3);
  builder.add(true, 0);
  builder.add(false, 2);
  builder.add(true, 1);
  builder.add(true, 3);
  builder.add(std::vector<uint8_t>{1, 0, 0});
  builder.add(false, 1);
  const MaskRuns runs = builder.finish();
  EXPECT_EQ(runs.counts, (std::vector<uint32_t>{2, 5, 5}));
  EXPECT_EQ(runs.area(), 5);
}

TEST(MaskRuns, MoreThanThePictureIsRefused) {
  MaskRunBuilder builder(2, 2);
  builder.add(true, 3);
  EXPECT_NE(error_of([&] { builder.add(false, 2); }).find("2 pixels in a mask with 1 left"),
            std::string::npos);
  EXPECT_THROW(MaskRunBuilder(0, 5), Error);
  EXPECT_THROW(MaskRunBuilder(70'000, 70'000), Error);
}

TEST(MaskRuns, CountsOfAnotherPictureOrNoneAreRefused) {
  const std::string counts = coco_counts(runs_of_rows({"0110", "1001", "0110"}));
  EXPECT_EQ(runs_of_coco_counts(3, 4, counts).area(), 6);
  for (const auto& [height, width] : {std::pair{3, 3}, {3, 5}, {1, 1}, {0, 4}, {-3, -4}})
    EXPECT_THROW(runs_of_coco_counts(height, width, counts), Error) << height << " x " << width;
  for (size_t cut = 0; cut < counts.size(); ++cut)
    EXPECT_THROW(runs_of_coco_counts(3, 4, counts.substr(0, cut)), Error) << cut;
  for (const std::string bad : {" ", "1 2", "\xff", "ooooooooo1", "0000", "O", "1O"})
    EXPECT_THROW(runs_of_coco_counts(3, 4, bad), Error) << bad;
}

/// The largest numbers that the text can have: a picture's whole, and the fall from it to 1.
TEST(MaskRuns, LargePictures) {
  MaskRunBuilder builder(65'535, 65'537);
  builder.add(false, 1);
  builder.add(true, 1);
  builder.add(false, 4'294'967'000);
  builder.add(true, 1);
  builder.add(false, 1);
  const MaskRuns runs = builder.finish();
  const MaskRuns back = runs_of_coco_counts(65'535, 65'537, coco_counts(runs));
  EXPECT_EQ(back.counts, runs.counts);
}

}  // namespace
}  // namespace lapidary
