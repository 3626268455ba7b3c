#include "coordinator/text/boxes.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

using Texts = std::vector<std::string>;
using Corners = std::array<double, 4>;

std::string segments(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "<seg" + std::to_string(1000 + i).substr(1) + ">";
  return text;
}

struct Case {
  std::string text;
  std::vector<std::string> labels;
  std::vector<Corners> corners;
  Texts plain;
};

// A picture of 1024 × 2048 makes a bin one pixel wide and two high.
const std::string kBox = "<loc0010><loc0020><loc0030><loc0040>";
const Corners kPixels = {20, 20, 40, 60};

TEST(Boxes, Grammar) {
  const std::vector<Case> cases = {
      {"", {}, {}, {}},
      {"a red ball", {}, {}, {"a red ball"}},
      {kBox + " ball", {"ball"}, {kPixels}, {}},
      {kBox + "ball", {"ball"}, {kPixels}, {}},
      {kBox, {""}, {kPixels}, {}},
      {kBox + " red  ball \n", {"red  ball"}, {kPixels}, {}},
      {kBox + " ball ; <loc0000><loc0000><loc1023><loc1023> cat",
       {"ball", "cat"},
       {kPixels, {0, 0, 1023, 2046}},
       {}},
      {kBox + " ; " + kBox + " cat", {"", "cat"}, {kPixels, kPixels}, {}},
      {kBox + kBox + " cat", {"", "cat"}, {kPixels, kPixels}, {}},
      {"I see " + kBox + " ball ; and that", {"ball"}, {kPixels}, {"I see ", "and that"}},
      {kBox + " a;b", {"a"}, {kPixels}, {";b"}},
      {kBox + " a<eos>", {"a"}, {kPixels}, {"<eos>"}},
      {"line\n" + kBox + " ball", {"ball"}, {kPixels}, {"line\n"}},
      // Corners in the wrong order are the model's word; they are kept.
      {"<loc0030><loc0040><loc0010><loc0020> x", {"x"}, {{40, 60, 20, 20}}, {}},
      // Not boxes.
      {"<loc0010><loc0020><loc0030> ball", {}, {}, {"<loc0010><loc0020><loc0030> ball"}},
      {"<loc0010> <loc0020><loc0030><loc0040>", {}, {}, {"<loc0010> <loc0020><loc0030><loc0040>"}},
      {"<loc0010><loc0020><loc0030><loc1024> x", {}, {}, {"<loc0010><loc0020><loc0030><loc1024> x"}},
      {"<loc0010><loc0020><loc0030><loc40> x", {}, {}, {"<loc0010><loc0020><loc0030><loc40> x"}},
      {"<loc0010><loc0020><loc0030><loc004", {}, {}, {"<loc0010><loc0020><loc0030><loc004"}},
      {"<loc", {}, {}, {"<loc"}},
      // Five corners: the first four that stand together.
      {kBox + "<loc0001> ball", {""}, {kPixels}, {"<loc0001> ball"}},
      {"<loc0001> " + kBox + " ball", {"ball"}, {kPixels}, {"<loc0001> "}},
      {"<loc0001><loc" + kBox + " ball", {"ball"}, {kPixels}, {"<loc0001><loc"}},
  };
  for (const Case& expected : cases) {
    const Detections found = parse_boxes(expected.text, 1024, 2048);
    ASSERT_EQ(found.boxes.size(), expected.labels.size()) << expected.text;
    for (size_t i = 0; i < found.boxes.size(); ++i) {
      EXPECT_EQ(found.boxes[i].label, expected.labels[i]) << expected.text;
      EXPECT_EQ(found.boxes[i].xyxy, expected.corners[i]) << expected.text;
      EXPECT_TRUE(found.boxes[i].segments.empty()) << expected.text;
    }
    EXPECT_EQ(found.text, expected.plain) << expected.text;
  }
}

TEST(Boxes, SixteenSegmentCodesOrNone) {
  std::vector<int32_t> codes(16);
  for (int i = 0; i < 16; ++i) codes[i] = i;
  for (const std::string space : {"", " "}) {
    const Detections found =
        parse_boxes(kBox + space + segments(16) + space + "cat ; " + kBox + " dog", 1024, 2048);
    ASSERT_EQ(found.boxes.size(), 2u);
    EXPECT_EQ(found.boxes[0].segments, codes);
    EXPECT_EQ(found.boxes[0].label, "cat");
    EXPECT_TRUE(found.boxes[1].segments.empty());
    EXPECT_TRUE(found.text.empty());
  }
  const Detections fifteen = parse_boxes(kBox + segments(15) + " cat", 1024, 2048);
  EXPECT_TRUE(fifteen.boxes.at(0).segments.empty());
  EXPECT_EQ(fifteen.boxes[0].label, "");
  EXPECT_EQ(fifteen.text, Texts{segments(15) + " cat"});
  const Detections seventeen = parse_boxes(kBox + segments(17) + " cat", 1024, 2048);
  EXPECT_EQ(seventeen.boxes.at(0).segments, codes);
  EXPECT_EQ(seventeen.text, Texts{"<seg016> cat"});
  EXPECT_TRUE(parse_boxes(kBox + segments(15) + "<seg128>", 10, 10).boxes.at(0).segments.empty());
}

TEST(Boxes, ABinIsAShareOfTheSide) {
  const std::string text = "<loc0512><loc0256><loc1023><loc1000> x";
  EXPECT_EQ(parse_boxes(text, 640, 480).boxes.at(0).xyxy, (Corners{160, 240, 625, 1023.0 / 1024 * 480}));
  EXPECT_EQ(parse_boxes(text, 640, 480, 1023).boxes.at(0).xyxy[3], 480);
}

TEST(Boxes, CutOffInTheMiddle) {
  struct Cut {
    std::string text;
    size_t boxes;
    bool of_text, of_box;
  };
  const std::vector<Cut> cuts = {
      {"", 0, false, false},
      {"a red ball", 0, false, false},
      {kBox, 1, false, false},
      {kBox + " ball", 1, false, false},
      {kBox + segments(16), 1, false, false},
      {kBox + segments(16) + " ball ; ", 1, false, false},
      // In the middle of a box.
      {"<loc0010>", 0, true, false},
      {"<loc0010><loc0020><loc0030>", 0, true, false},
      {"<loc0010><loc0020><loc0030> \n", 0, true, false},
      {kBox + " ball ; <loc0010><loc0020>", 1, true, false},
      {kBox + "<loc0001>", 1, true, false},
      // In the middle of a mask.
      {kBox + segments(1), 1, true, true},
      {kBox + segments(15), 1, true, true},
      {kBox + " " + segments(15) + " ", 1, true, true},
      // Wrong, but not cut off.
      {kBox + segments(15) + " ball", 1, false, false},
      {kBox + segments(17), 1, false, false},
      {"<loc0010><loc0020> ball", 0, false, false},
      {"<loc0010><loc1024>", 0, false, false},
      {"<loc0010><seg001>", 0, false, false},
      {segments(3), 0, false, false},
  };
  for (const Cut& cut : cuts) {
    const Detections found = parse_boxes(cut.text, 640, 480);
    ASSERT_EQ(found.boxes.size(), cut.boxes) << cut.text;
    EXPECT_EQ(found.partial, cut.of_text) << cut.text;
    for (const DetectedBox& box : found.boxes) EXPECT_EQ(box.partial, cut.of_box) << cut.text;
  }
  const Detections two = parse_boxes(kBox + segments(16) + " cat ; " + kBox + segments(9), 640, 480);
  EXPECT_FALSE(two.boxes.at(0).partial);
  EXPECT_TRUE(two.boxes.at(1).partial);
  EXPECT_TRUE(two.boxes.at(1).segments.empty());
  EXPECT_EQ(two.text, Texts{segments(9)});
}

/// Rescanning from each "<loc" to the end of the text would take minutes here.
TEST(Boxes, LongTexts) {
  std::string almost;
  std::string many;
  for (int i = 0; i < 100'000; ++i) {
    almost += "<loc0001><loc0002><loc0003>;";
    many += kBox + " x ; ";
  }
  EXPECT_EQ(parse_boxes(almost, 8, 8).text, Texts{almost});
  EXPECT_EQ(parse_boxes(many, 8, 8).boxes.size(), 100'000u);
}

}  // namespace
}  // namespace lapidary
