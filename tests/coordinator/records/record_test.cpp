#include "coordinator/records/record.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "coordinator/text/json_text.h"

namespace lapidary {
namespace {

TEST(Record, GoodOne) {
  Record record;
  record.key = "a/\"b\".png";
  record.prompt = "detect cat";
  record.text = "<loc0256>… cat\n";
  record.token_ids = {5, 6};
  record.width = 640;
  record.height = 480;
  record.boxes = {{"cat", {0, 12.34375, 100.5, 480}, {}}, {"", {1.999, 2, 3, 4}, {}}};
  EXPECT_EQ(
      to_json(record),
      R"({"key": "a/\"b\".png", "prompt": "detect cat", "text": "<loc0256>… cat\n", "token_ids": [5, 6], )"
      R"("status": "ok", "error": null, "width": 640, "height": 480, )"
      R"("boxes": [{"label": "cat", "xyxy": [0, 12.34, 100.5, 480]}, {"label": "", "xyxy": [2, 2, 3, 4]}]})");
}

TEST(Record, BoxesHaveCodesMaskAndPartialWhereThereIsSuch) {
  Record record;
  record.width = 4;
  record.height = 2;
  DetectedBox plain{"cat", {0, 0, 4, 2}, {}}, coded = plain, cut = plain;
  coded.segments = {5, 127, 0};
  DetectedBox decoded = coded;
  decoded.mask = DetectedMask{2, 4, "1\\2", {{0, 0, 1, 0, 1, 1}}};
  cut.partial = true;
  record.boxes = {plain, coded, decoded, cut};
  const std::string line = to_json(record), box = R"({"label": "cat", "xyxy": [0, 0, 4, 2])";
  EXPECT_EQ(line.substr(line.find(R"("boxes")")),
            R"("boxes": [)" + box + "}, " + box + R"(, "segments": [5, 127, 0]}, )" + box +
                R"(, "segments": [5, 127, 0], "mask": {"size": [2, 4], "counts": "1\\2"}}, )" + box +
                R"(, "partial": true}]})");
}

TEST(Record, FailedOneHasAllFieldsToo) {
  Record record;
  record.key = "x";
  record.error = "x: is no image";
  EXPECT_EQ(
      to_json(record),
      R"({"key": "x", "prompt": "", "text": "", "token_ids": [], "status": "error", "error": "x: is no image", )"
      R"("width": null, "height": null, "boxes": []})");
}

TEST(Record, AnyFileNameGivesValidJson) {
  EXPECT_EQ(json_string("ok é 😈"), "\"ok é 😈\"");
  EXPECT_EQ(json_string("\xff"
                        "a\xe2\x82"
                        "b\xc3"),
            "\"\uFFFDa\uFFFD\uFFFDb\uFFFD\"");
  EXPECT_EQ(json_string(std::string("\0\x1f\n", 3)), "\"\\u0000\\u001f\\n\"");
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_NO_THROW(boost::json::parse(json_string(all)));
}

}  // namespace
}  // namespace lapidary
