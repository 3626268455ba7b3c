#include "coordinator/cli/sinks/mask_maker.h"

#include <gtest/gtest.h>

#include "configs/json.h"
#include "coordinator/masks/mask_runs.h"
#include "tests/support/test_data.h"
#include "worker/masks/mask_in_box.h"
#include "worker/masks/npz.h"

namespace lapidary {
namespace {

const std::filesystem::path kFolder = test_data() / "tests" / "golden" / "masks";

/// The whole way from codes on. Of the decoder's numbers some lie where a byte is cut off, so that another
/// order of sums may move an edge by a pixel; these do not, or this test would say so.
TEST(MaskMaker, MasksAreThoseOfNumpyPillowAndPycocotools) {
  const FloatArrays golden = read_npz(kFolder / "decoded.npz", {{"codes", {7, 16}}});
  const MaskDecoder decoder(kFolder / "decoder.npz");
  const auto cases = read_json_file(kFolder / "boxes.json");
  ASSERT_GT(cases.as_array().size(), 10u);
  for (const auto& value : cases.as_array()) {
    const JsonObject expected(value, "boxes.json");
    const std::vector<int64_t> size = expected.ints("size");
    const auto codes = golden.at("codes").begin() + expected.required_int("mask") * kMaskCodes;
    DetectedBox box;
    box.segments.assign(codes, codes + kMaskCodes);
    const std::vector<double> corners = expected.doubles("box");
    std::copy(corners.begin(), corners.end(), box.xyxy.begin());
    const auto mask = make_mask(decoder, box, size[1], size[0]);
    ASSERT_TRUE(mask);
    EXPECT_EQ(mask->height, size[0]);
    EXPECT_EQ(mask->width, size[1]);
    EXPECT_EQ(mask->rle, expected.required_string("counts")) << size[1] << " x " << size[0];
    EXPECT_EQ(runs_of_coco_counts(mask->height, mask->width, mask->rle).area(),
              expected.required_int("area"));
    EXPECT_TRUE(mask->polygons.empty());
  }
}

TEST(MaskMaker, CornersAreRoundedHalfToEven) {
  const MaskDecoder decoder(kFolder / "decoder.npz");
  const auto rle_of = [&](double x1, double y1, double x2, double y2) {
    const DetectedBox box{"", {x1, y1, x2, y2}, std::vector<int32_t>(16, 9)};
    const auto mask = make_mask(decoder, box, 100, 90, true);
    return mask ? mask->rle : "none";
  };
  EXPECT_EQ(rle_of(9.5, 20.5, 60.5, 71.5), rle_of(10, 20, 60, 72));
  EXPECT_EQ(rle_of(9.6, 20.4, 60.2, 71.9), rle_of(10, 20, 60, 72));
  EXPECT_NE(rle_of(10, 20, 61, 72), rle_of(10, 20, 60, 72));
  // What reaches out of the picture ends at its edge.
  EXPECT_EQ(rle_of(-5, -5, 200, 200), rle_of(0, 0, 100, 90));
}

TEST(MaskMaker, BoxesWithoutCodesOrPixelsHaveNone) {
  const MaskDecoder decoder(kFolder / "decoder.npz");
  const std::vector<int32_t> codes(16, 9);
  EXPECT_FALSE(make_mask(decoder, {"", {0, 0, 50, 50}, {}}, 100, 90));
  EXPECT_FALSE(make_mask(decoder, {"", {50, 0, 50.4, 50}, codes}, 100, 90));
  EXPECT_FALSE(make_mask(decoder, {"", {0, 60, 50, 50}, codes}, 100, 90));
  EXPECT_TRUE(make_mask(decoder, {"", {49, 0, 50, 50}, codes}, 100, 90));
}

TEST(MaskMaker, PolygonsWhereTheyAreAskedFor) {
  const MaskDecoder decoder(kFolder / "decoder.npz");
  const auto mask = make_mask(decoder, {"", {0, 0, 50, 50}, std::vector<int32_t>(16, 127)}, 100, 90, true);
  ASSERT_TRUE(mask);
  EXPECT_FALSE(mask->polygons.empty());
}

/// Notes what it is given.
struct Notes : RecordSink {
  void add(const DatasetItem& item, const Record& record) override {
    keys += item.key + " ";
    for (const DetectedBox& box : record.boxes) masks += box.mask.has_value();
  }
  void commit() override { keys += "commit "; }
  void finish(bool whole) override { keys += whole ? "whole" : "cut"; }
  std::string keys;
  int masks = 0;
};

TEST(MaskMaker, RecordsComeOutInTheirOrder) {
  const MaskDecoder decoder(kFolder / "decoder.npz");
  TaskPool pool(3);
  Notes notes;
  MaskSink sink(notes, decoder, pool);
  std::string expected;
  const auto add = [&](int i, bool coded) {
    DatasetItem item;
    item.key = std::to_string(i);
    Record record;
    record.width = record.height = 64;
    record.boxes = {{"", {0, 0, 60, 60}, coded ? std::vector<int32_t>(16, i) : std::vector<int32_t>()}};
    sink.add(item, record);
    expected += item.key + " ";
  };
  for (int i = 0; i < 50; ++i) add(i, i % 3 != 0);
  sink.commit();
  expected += "commit ";
  for (int i = 50; i < 60; ++i) add(i, i < 55);
  sink.finish(true);
  EXPECT_EQ(notes.keys, expected + "whole");
  EXPECT_EQ(notes.masks, 33 + 5);
}

}  // namespace
}  // namespace lapidary
