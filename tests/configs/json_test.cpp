#include "configs/json.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <unistd.h>
#include <fstream>
#include <functional>

#include "configs/error.h"

namespace lapidary {
namespace {

namespace json = boost::json;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class JsonFields : public testing::Test {
 protected:
  const json::value value_ = parse_json(R"({
      "eight": 8, "eight_point_none": 8.0, "half": 8.5, "huge": 9223372036854775808, "far": 1e300, "text": "caption",
      "yes": true, "nothing": null, "whole": [1, 2, 3], "mixed": [1, "2"], "names": ["a", "b"], "numbers": [1, 2.5],
      "inner": {"width": 3, "deeper": [{"x": 1}, {"x": null}]}})",
                                        "file.json");
  const JsonObject object_{value_, "file.json"};
};

TEST_F(JsonFields, WholeNumbersAreTakenAndAllElseRefusedByName) {
  EXPECT_EQ(object_.required_int("eight"), 8);
  EXPECT_EQ(object_.required_int("eight_point_none"), 8);
  EXPECT_EQ(error_of([&] { object_.required_int("half"); }), "file.json: half is 8.5, not a whole number");
  EXPECT_EQ(error_of([&] { object_.required_int("huge"); }),
            "file.json: huge is 9223372036854775808, not a whole number below 2^63");
  EXPECT_NE(error_of([&] { object_.required_int("far"); }), "no error");
  EXPECT_EQ(error_of([&] { object_.required_int("text"); }),
            "file.json: text is \"caption\", not a whole number");
  EXPECT_EQ(error_of([&] { object_.required_int("missing"); }), "file.json: missing is missing");
  EXPECT_EQ(error_of([&] { object_.required_int("nothing"); }),
            "file.json: nothing is null, not a whole number");
}

TEST_F(JsonFields, RangesIncludeBothLimits) {
  EXPECT_EQ(object_.required_int("eight", 8, 8), 8);
  EXPECT_EQ(error_of([&] { object_.required_int("eight", 9); }), "file.json: eight is 8, less than 9");
  EXPECT_EQ(error_of([&] { object_.required_int("eight", 1, 7); }), "file.json: eight is 8, not from 1 to 7");
}

TEST_F(JsonFields, AbsentAndNullAreTwoThings) {
  EXPECT_FALSE(object_.has("missing"));
  EXPECT_FALSE(object_.is_null("missing"));
  EXPECT_TRUE(object_.has("nothing"));
  EXPECT_TRUE(object_.is_null("nothing"));
  EXPECT_FALSE(object_.is_null("eight"));
  EXPECT_EQ(object_.optional_int("missing"), std::nullopt);
  EXPECT_EQ(object_.optional_int("nothing"), std::nullopt);
  EXPECT_EQ(object_.optional_int("eight"), 8);
  EXPECT_EQ(object_.int_or("missing", 5), 5);
  EXPECT_EQ(object_.int_or("eight", 5), 8);
  EXPECT_NE(error_of([&] { object_.int_or("nothing", 5); }), "no error");
  EXPECT_NE(error_of([&] { object_.optional_int("text"); }), "no error");
}

TEST_F(JsonFields, OtherKinds) {
  EXPECT_EQ(object_.required_double("half"), 8.5);
  EXPECT_EQ(object_.required_double("eight"), 8);
  EXPECT_EQ(object_.required_double("huge"), 0x1p63);
  EXPECT_EQ(object_.double_or("missing", 0.5), 0.5);
  EXPECT_EQ(object_.optional_double("nothing"), std::nullopt);
  EXPECT_EQ(object_.required_string("text"), "caption");
  EXPECT_EQ(object_.string_or("missing", "x"), "x");
  EXPECT_EQ(object_.optional_string("nothing"), std::nullopt);
  EXPECT_TRUE(object_.required_bool("yes"));
  EXPECT_FALSE(object_.bool_or("missing", false));
  EXPECT_EQ(object_.optional_bool("missing"), std::nullopt);
  EXPECT_EQ(error_of([&] { object_.required_bool("eight"); }), "file.json: eight is 8, not true or false");
  EXPECT_EQ(error_of([&] { object_.required_string("whole"); }), "file.json: whole is a list, not a string");
  EXPECT_EQ(error_of([&] { object_.required_double("text"); }),
            "file.json: text is \"caption\", not a number");
}

TEST_F(JsonFields, Lists) {
  EXPECT_EQ(object_.ints("whole"), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(object_.doubles("numbers"), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(object_.strings("names"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(error_of([&] { object_.ints("mixed"); }), "file.json: mixed[1] is \"2\", not a whole number");
  EXPECT_EQ(error_of([&] { object_.ints("whole", 0, 2); }), "file.json: whole[2] is 3, not from 0 to 2");
  EXPECT_EQ(error_of([&] { object_.ints("eight"); }), "file.json: eight is 8, not a list");
}

TEST_F(JsonFields, NestedObjectsNameTheirPath) {
  const JsonObject inner = object_.required_object("inner");
  EXPECT_EQ(inner.required_int("width"), 3);
  EXPECT_EQ(error_of([&] { inner.required_int("height"); }), "file.json: inner.height is missing");
  EXPECT_EQ(error_of([&] { inner.objects("deeper")[1].required_int("x"); }),
            "file.json: inner.deeper[1].x is null, not a whole number");
  EXPECT_EQ(object_.optional_object("nothing").has_value(), false);
  EXPECT_EQ(error_of([&] { object_.required_object("eight"); }), "file.json: eight is 8, not an object");
  EXPECT_EQ(error_of([] { JsonObject(json::value(1), "f"); }), "f: the whole is 1, not an object");
}

TEST(Json, SyntaxErrorsNameFileAndByte) {
  EXPECT_EQ(error_of([] {
              parse_json("{\"a\": 1,, }", "f.json");
            }).rfind("f.json: not valid JSON at byte 8 of 11", 0),
            0u);
  EXPECT_NE(error_of([] { parse_json("", "f.json"); }).find("at byte 0 of 0"), std::string::npos);
  EXPECT_NE(error_of([] { parse_json("{} x", "f.json"); }).find("at byte 3 of 4"), std::string::npos);
  EXPECT_NE(error_of([] { parse_json("{\"a\": ", "f.json"); }), "no error");
  EXPECT_NE(error_of([] { parse_json("\"\xff\"", "f.json"); }), "no error") << "invalid UTF-8";
}

TEST(Json, WhatPythonAlsoWritesIsRefusedOnlyWhereItIsAskedFor) {
  const auto value = parse_json(
      "\xef\xbb\xbf{\"a\": NaN, \"b\": [-Infinity, Infinity], \"c\": \"\\ud83d!\", \"d\": \"\\ud83d\\ude00 "
      "NaN\", \"e\": 1}",
      "f.json");
  const JsonObject object(value, "f.json");
  EXPECT_EQ(object.required_int("e"), 1);
  EXPECT_EQ(object.required_string("d"), "\xf0\x9f\x98\x80 NaN");
  EXPECT_EQ(error_of([&] { object.required_double("a"); }), "f.json: a is NaN or Infinity, not a number");
  EXPECT_EQ(error_of([&] { object.required_string("a"); }), "f.json: a is NaN or Infinity, not a string");
  EXPECT_EQ(error_of([&] { object.doubles("b"); }), "f.json: b[0] is NaN or Infinity, not a number");
  EXPECT_EQ(error_of([&] { object.required_string("c"); }),
            "f.json: c is a string with half a surrogate pair, not text in UTF-8");
}

TEST(Json, DepthIsLimited) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(error_of([&] { parse_json(nested(64), "f"); }), "no error");
  EXPECT_NE(error_of([&] { parse_json(nested(65), "f"); }), "no error");
  EXPECT_NE(error_of([&] { parse_json(nested(1 << 20), "f"); }), "no error");
}

TEST(Json, FilesThatCannotBeReadAreNamed) {
  const auto folder = std::filesystem::temp_directory_path();
  EXPECT_EQ(error_of([&] { read_json_file(folder); }), folder.string() + ": not a regular file");
  EXPECT_EQ(error_of([&] { read_json_file(folder / "no such.json"); }),
            (folder / "no such.json").string() + ": there is no such file");
  const auto file = folder / ("json_test_" + std::to_string(::getpid()) + ".json");
  std::ofstream(file) << "[1, 2]";
  EXPECT_EQ(read_json_file(file).as_array().size(), 2u);
  EXPECT_EQ(error_of([&] { read_text_file(file, 5); }),
            file.string() + ": 6 bytes, more than the 5 that such a file may have");
  std::filesystem::remove(file);
}

TEST(Json, ReadsIntoTheGivenMemory) {
  json::monotonic_resource pool;
  const json::value value = parse_json("{\"a\": [1, 2, 3]}", "f", &pool);
  EXPECT_EQ(value.storage().get(), &pool);
  EXPECT_EQ(value.at("a").storage().get(), &pool);
}

}  // namespace
}  // namespace lapidary
