#include "coordinator/annotations/coco.h"

#include <gtest/gtest.h>

#include "configs/json.h"
#include "coordinator/masks/mask_runs.h"
#include "coordinator/records/record.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

Record record(const std::string& key, const std::string& prompt, std::vector<DetectedBox> boxes) {
  Record made;
  made.key = key;
  made.prompt = prompt;
  made.width = 8;
  made.height = 6;
  made.boxes = std::move(boxes);
  return made;
}

DetectedBox box(const std::string& label, double x1, double y1, double x2, double y2) {
  return {label, {x1, y1, x2, y2}, {}};
}

DetectedBox masked(DetectedBox box) {
  MaskRunBuilder runs(6, 8);
  runs.add(false, 7);
  runs.add(true, 5);
  box.mask = DetectedMask{6, 8, coco_counts(runs.finish()), {}};
  return box;
}

class CocoTest : public testing::Test {
 protected:
  std::filesystem::path lines(const std::string& name, const std::vector<Record>& records) {
    std::string text;
    for (const Record& one : records) text += to_json(one) + "\n";
    return folder_.write(name, text);
  }
  TempFolder folder_;
};

TEST_F(CocoTest, AnImageAKeyAnAnnotationABoxACategoryALabel) {
  Record failed = record("broken.png", "detect cat", {});
  failed.error = "broken";
  const auto one =
      lines("one.jsonl", {record("b \"é\".png", "detect cat", {masked(box("cat", 1, 2, 6.5, 5))}), failed});
  const auto two =
      lines("two.jsonl", {record("a.png", "detect dog", {box("dog", 0, 0, 8, 6)}),
                          record("a.png", "detect cat", {box("cat", 2, 1, 2, 4), box("cat", 1, 1, 2, 3.25)}),
                          record("c.png", "detect cat", {})});
  const CocoCounts counts = write_coco(folder_ / "coco.json", {one, two});
  EXPECT_EQ(folder_.read("coco.json"),
            R"({"info": {"description": "made by lapidary caption"}, "images": [
{"id": 1, "file_name": "a.png", "width": 8, "height": 6},
{"id": 2, "file_name": "b \"é\".png", "width": 8, "height": 6},
{"id": 3, "file_name": "c.png", "width": 8, "height": 6}
], "annotations": [
{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 1, 2.25], "area": 2.25, "iscrowd": 0, "score": 1},
{"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 8, 6], "area": 48, "iscrowd": 0, "score": 1},
{"id": 3, "image_id": 2, "category_id": 1, "bbox": [1, 2, 5.5, 3], "segmentation": {"size": [6, 8], "counts": "75T1"}, "area": 5, "iscrowd": 0, "score": 1}
], "categories": [
{"id": 1, "name": "cat", "supercategory": ""},
{"id": 2, "name": "dog", "supercategory": ""}
]}
)");
  EXPECT_EQ(
      coco_remark("coco.json", counts),
      "coco.json: 3 images, 3 boxes; without 1 record that has an error; without 1 box that holds no pixel");
  EXPECT_NO_THROW(read_json_file(folder_ / "coco.json"));
}

TEST_F(CocoTest, TheSameRecordsElsewhereGiveTheSameBytes) {
  std::vector<Record> records;
  for (int i = 0; i < 200; ++i)
    records.push_back(record("k" + std::to_string(i * 7919 % 100), i < 100 ? "detect x" : "detect y",
                             {box("l" + std::to_string(i % 13), 1, 1, 2 + i % 5, 3)}));
  write_coco(folder_ / "one.json", {lines("all.jsonl", records)});
  std::vector<Record> odd, even;
  for (size_t i = records.size(); i-- > 0;) (i % 3 == 0 ? odd : even).push_back(records[i]);
  const CocoCounts counts =
      write_coco(folder_ / "two.json", {lines("odd.jsonl", odd), lines("even.jsonl", even)});
  EXPECT_TRUE(folder_.read("one.json") == folder_.read("two.json"));
  EXPECT_EQ(counts.images, 100);
  EXPECT_EQ(counts.annotations, 200);
}

TEST_F(CocoTest, NoRecordsAreAnEmptyDataset) {
  write_coco(folder_ / "coco.json", {lines("none.jsonl", {})});
  const auto value = read_json_file(folder_ / "coco.json");
  for (const char* list : {"images", "annotations", "categories"})
    EXPECT_TRUE(value.at(list).as_array().empty());
}

/// What was there stays until the new file is whole, and where a link leads to it, the link stays too.
TEST_F(CocoTest, TheFileAppearsWhole) {
  const auto good = lines("good.jsonl", {record("a", "p", {})});
  folder_.write("coco.json", "old");
  folder_.write("bad.jsonl", "{\"key\": \"a\", \"pro");
  EXPECT_NE(error_of([&] {
              write_coco(folder_ / "coco.json", {good, folder_ / "bad.jsonl"});
            }).find("bad.jsonl"),
            std::string::npos);
  EXPECT_THROW(write_coco(folder_ / "coco.json", {folder_ / "absent.jsonl"}), Error);
  EXPECT_EQ(folder_.read("coco.json"), "old");
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
    EXPECT_EQ(entry.path().extension().string().find("tmp"), std::string::npos) << entry.path();
  std::filesystem::create_symlink(folder_ / "coco.json", folder_ / "link.json");
  write_coco(folder_ / "link.json", {good});
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link.json"));
  EXPECT_NE(folder_.read("coco.json"), "old");
}

TEST_F(CocoTest, PlacesWhereNoFileCanBeAreFoundAtTheDoor) {
  check_annotations_file(folder_ / "new.json");
  EXPECT_NE(error_of([&] { check_annotations_file(folder_.path()); }).find("is no regular file"),
            std::string::npos);
  EXPECT_NE(
      error_of([&] { check_annotations_file(folder_ / "absent" / "x.json"); }).find("absent is no folder"),
      std::string::npos);
}

TEST_F(CocoTest, AMaskThatIsNoneIsNamed) {
  Record wrong = record("a", "p", {masked(box("cat", 1, 2, 6, 5))});
  wrong.boxes[0].mask->width = 9;
  const auto file = lines("wrong.jsonl", {wrong});
  EXPECT_EQ(error_of([&] { write_coco(folder_ / "coco.json", {file}); }),
            "a mask's counts leave 6 of 54 pixels out");
}

}  // namespace
}  // namespace lapidary
