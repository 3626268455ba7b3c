#include "coordinator/text/tokenizer_read.h"

#include <gtest/gtest.h>

#include <functional>

#include "configs/error.h"
#include "tests/coordinator/text/tokenizer_files.h"

namespace lapidary {
namespace {

namespace json = boost::json;
using namespace testing_support;
using Edit = std::function<void(json::object& root, json::object& model)>;

json::value tiny() {
  return parse_json(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [
      {"id": 0, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
      {"id": 4, "content": "<new>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    "pre_tokenizer": null, "post_processor": null,
    "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
    "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
              "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3}, "merges": [["a", "b"]]}})",
                    "t.json");
}

std::string error_of(const std::string& text) {
  try {
    Tokenizer::from_json(text, "t.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string after(const Edit& edit) {
  json::value root = tiny();
  edit(root.as_object(), root.at("model").as_object());
  return error_of(json::serialize(root));
}

TEST(TokenizerFile, TheTinyOneIsGood) {
  EXPECT_EQ(after([](json::object&, json::object&) {}), "no error");
  const Tokenizer tokenizer = Tokenizer::from_json(json::serialize(tiny()), "t.json");
  EXPECT_EQ(tokenizer.encode("abba<new>ab"), (std::vector<int32_t>{3, 2, 1, 4, 3}));
}

struct Refusal {
  const char* name;
  Edit edit;
  std::string sentence;
};

json::value replaced(const char* pattern) {
  return {{"type", "Replace"}, {"pattern", {{"String", pattern}}}, {"content", "x"}};
}

/// What is wrong, and the whole sentence it ends in.
const std::vector<Refusal>& refusals() {
  static const std::vector<Refusal> table = {
      {"other model", [](auto&, auto& m) { m["type"] = "Unigram"; },
       R"(t.json: model.type is "Unigram"; supported: BPE)"},
      {"no model", [](auto& r, auto&) { r.erase("model"); }, "t.json: model is missing"},
      {"no vocab", [](auto&, auto& m) { m.erase("vocab"); }, "t.json: model.vocab is missing"},
      {"no merges", [](auto&, auto& m) { m.erase("merges"); }, "t.json: model.merges is missing"},
      {"vocab is a list", [](auto&, auto& m) { m["vocab"] = json::array{}; },
       "t.json: model.vocab is a list, not an object"},
      {"version", [](auto& r, auto&) { r["version"] = "2.0"; }, R"(t.json: version is "2.0", not "1.0")"},
      {"an id beyond all gaps", [](auto&, auto& m) { m["vocab"].as_object()["ab"] = 4194308; },
       R"(t.json: model.vocab: piece "ab" has the id 4194308, not a whole number from 0 to 4194307)"},
      {"a negative id", [](auto&, auto& m) { m["vocab"].as_object()["b"] = -1; },
       R"(t.json: model.vocab: piece "b" has the id -1, not a whole number from 0 to 4194307)"},
      {"an id that is no number", [](auto&, auto& m) { m["vocab"].as_object()["b"] = "2"; },
       R"(t.json: model.vocab: piece "b" has the id "2", not a whole number from 0 to 4194307)"},
      {"an id twice", [](auto&, auto& m) { m["vocab"].as_object()["b"] = 1; },
       R"(t.json: model.vocab: pieces "a" and "b" both have the id 1)"},
      {"a merge of what is no piece",
       [](auto&, auto& m) {
         m["merges"] = json::array{json::array{"a", "c"}};
       },
       R"(t.json: model.merges[0]: piece "c" is not in model.vocab)"},
      {"a merge into what is no piece",
       [](auto&, auto& m) {
         m["merges"] = json::array{json::array{"a", "b"}, json::array{"b", "a"}};
       },
       R"(t.json: model.merges[1]: piece "ba" is not in model.vocab)"},
      {"a merge of three",
       [](auto&, auto& m) {
         m["merges"] = json::array{json::array{"a", "b", "a"}};
       },
       R"(t.json: model.merges[0] is not two pieces written as the list begins, ["a", "b"])"},
      {"a merge string of three", [](auto&, auto& m) { m["merges"] = json::array{"a b a"}; },
       R"(t.json: model.merges[0] is not two pieces written as the list begins, "a b")"},
      {"mixed notations",
       [](auto&, auto& m) {
         m["merges"] = json::array{"a b", json::array{"a", "b"}};
       },
       R"(t.json: model.merges[1] is not two pieces written as the list begins, "a b")"},
      {"unk is no piece", [](auto&, auto& m) { m["unk_token"] = "<u>"; },
       R"(t.json: model.unk_token is "<u>", which is not in model.vocab)"},
      {"dropout", [](auto&, auto& m) { m["dropout"] = 0.1; },
       "t.json: model.dropout is not 0: encoding is no game of chance"},
      {"prefix", [](auto&, auto& m) { m["continuing_subword_prefix"] = "##"; },
       R"(t.json: model.continuing_subword_prefix is "##", which is not supported)"},
      {"suffix", [](auto&, auto& m) { m["end_of_word_suffix"] = "</w>"; },
       R"(t.json: model.end_of_word_suffix is "</w>", which is not supported)"},
      {"byte_fallback", [](auto&, auto& m) { m["byte_fallback"] = 1; },
       "t.json: model.byte_fallback is 1, not true or false"},
      {"normalizer",
       [](auto& r, auto&) {
         r["normalizer"] = {{"type", "NFC"}};
       },
       R"(t.json: normalizer.type is "NFC"; supported: Replace, Prepend, Sequence)"},
      {"normalizer in a sequence",
       [](auto& r, auto&) {
         r["normalizer"] = {{"type", "Sequence"},
                            {"normalizers", json::array{replaced(" "), {{"type", "NFKC"}}}}};
       },
       R"(t.json: normalizer.normalizers[1].type is "NFKC"; supported: Replace, Prepend, Sequence)"},
      {"steps that let a text explode",
       [](auto& r, auto&) {
         const json::value step = {{"type", "Replace"}, {"pattern", {{"String", "x"}}}, {"content", "xxxxx"}};
         r["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array{step, step, step}}};
       },
       "t.json: normalizer makes a text up to 125 times longer, more than 64 times"},
      {"a text before every part of a text",
       [](auto& r, auto&) {
         r["normalizer"] = {{"type", "Prepend"}, {"prepend", std::string(64, 'x')}};
       },
       "t.json: normalizer makes a text up to 65 times longer, more than 64 times"},
      {"what is put before a text and then replaced",
       [](auto& r, auto&) {
         const json::value prepend = {{"type", "Prepend"}, {"prepend", "xxxxxxx"}};
         const json::value step = {
             {"type", "Replace"}, {"pattern", {{"String", "x"}}}, {"content", "123456789"}};
         r["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array{prepend, step}}};
       },
       "t.json: normalizer makes a text up to 72 times longer, more than 64 times"},
      {"regex",
       [](auto& r, auto&) {
         r["normalizer"].as_object()["pattern"] = {{"Regex", "\\s"}};
       },
       "t.json: normalizer.pattern.String is missing (regular expressions are not supported)"},
      {"empty pattern", [](auto& r, auto&) { r["normalizer"] = replaced(""); },
       "t.json: normalizer.pattern.String is empty"},
      {"pre-tokenizer",
       [](auto& r, auto&) {
         r["pre_tokenizer"] = {{"type", "ByteLevel"}};
       },
       R"(t.json: pre_tokenizer.type is "ByteLevel"; supported: Split)"},
      {"split behaviour",
       [](auto& r, auto&) {
         r["pre_tokenizer"] = {
             {"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "Removed"}, {"invert", false}};
       },
       R"(t.json: pre_tokenizer.behavior is "Removed"; supported: MergedWithPrevious)"},
      {"decoder",
       [](auto& r, auto&) {
         r["decoder"] = {{"type", "WordPiece"}};
       },
       R"(t.json: decoder.type is "WordPiece"; supported: Replace, ByteFallback, Fuse, Strip, Sequence)"},
      {"strip of two characters",
       [](auto& r, auto&) {
         r["decoder"] = {{"type", "Strip"}, {"content", "ab"}, {"start", 1}, {"stop", 0}};
       },
       R"(t.json: decoder.content is "ab", not one character)"},
      {"a new token whose id is taken",
       [](auto& r, auto& m) {
         m["vocab"].as_object()["ab"] = 4;
         r["added_tokens"] = json::array{added_token(5, "<n>", false, false)};
       },
       R"(t.json: added_tokens[0].content: "<n>" gets the id 4, the next after 4 pieces, which "ab" has in model.vocab)"},
      {"two that are one when normalised",
       [](auto& r, auto&) {
         r["added_tokens"] =
             json::array{added_token(4, "x y", true, false), added_token(5, "x▁y", true, false)};
       },
       "t.json: added_tokens: 'x▁y' (id 5) is, normalised, the same as another one"},
      {"an added token without a flag",
       [](auto& r, auto&) { r["added_tokens"].as_array()[0].as_object().erase("lstrip"); },
       "t.json: added_tokens[0].lstrip is missing"},
  };
  return table;
}

TEST(TokenizerFile, WhatIsWrongIsRefusedInOneSentence) {
  for (const Refusal& refusal : refusals()) EXPECT_EQ(after(refusal.edit), refusal.sentence) << refusal.name;
}

/// What the library's release 0.23.3 makes of a tiny file with these added tokens.
struct Numbering {
  const char* name;
  json::array added;
  const char* text;
  std::vector<int32_t> ids;
  size_t remarks;
};

TEST(TokenizerFile, AddedTokensAreNumberedAsTheLibraryDoes) {
  const Numbering table[] = {
      {"a gap", {added_token(6, "<n>", false, false)}, "a<n>b", {1, 4, 2}, 1},
      {"two gaps",
       {added_token(6, "<n>", false, false), added_token(9, "<m>", false, false)},
       "a<n>b<m>",
       {1, 4, 2, 5},
       1},
      {"not in order",
       {added_token(5, "<m>", false, false), added_token(4, "<n>", false, false)},
       "a<n>b<m>",
       {1, 5, 2, 4},
       1},
      {"two of one id",
       {added_token(4, "<n>", false, false), added_token(4, "<m>", false, false)},
       "a<n>b<m>",
       {1, 4, 2, 5},
       1},
      {"twice",
       {added_token(4, "<n>", false, false), added_token(4, "<n>", false, false)},
       "a<n>b",
       {1, 4, 2},
       1},
      {"twice, with two ids",
       {added_token(4, "<n>", false, false), added_token(5, "<n>", false, false),
        added_token(6, "<m>", false, false)},
       "a<n>b<m>",
       {1, 4, 2, 5},
       2},
      {"of the vocabulary, with another id", {added_token(3, "a", false, false)}, "ab", {1, 2}, 1},
      {"empty", {added_token(4, "", false, false)}, "ab", {3}, 1},
      {"as it should be", {added_token(4, "<n>", false, false)}, "a<n>", {1, 4}, 0}};
  for (const Numbering& row : table) {
    json::value root = tiny();
    root.as_object()["added_tokens"] = row.added;
    const Tokenizer tokenizer = Tokenizer::from_json(json::serialize(root), "t.json");
    EXPECT_EQ(tokenizer.encode(row.text), row.ids) << row.name;
    EXPECT_EQ(tokenizer.remarks().size(), row.remarks) << row.name;
  }
}

TEST(TokenizerFile, AnAddedTokenIsSpecialIfOneOfItsListingsIs) {
  for (const bool first : {false, true}) {
    json::value root = tiny();
    root.as_object()["added_tokens"] =
        json::array{added_token(4, "<n>", false, first), added_token(4, "<n>", false, !first)};
    EXPECT_TRUE(Tokenizer::from_json(json::serialize(root)).is_special(4));
  }
}

TEST(TokenizerFile, GapsOfTheVocabularyAreReadAsTheLibraryDoes) {
  json::value root = tiny();
  root.as_object()["model"].as_object()["vocab"].as_object()["ab"] = 7;
  root.as_object()["added_tokens"] =
      json::array{added_token(8, "<n>", false, true), added_token(9, "<m>", false, false)};
  const Tokenizer tokenizer = Tokenizer::from_json(json::serialize(root), "t.json");
  EXPECT_EQ(tokenizer.encode("ab<n><m>"), (std::vector<int32_t>{7, 4, 5}));
  EXPECT_EQ(tokenizer.size(), 8);
  EXPECT_FALSE(tokenizer.holds(3));
  EXPECT_EQ(tokenizer.id_of("<m>"), 5);
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{3, 7, 6, 5, 4, 99}, true), "ab<m>");
  EXPECT_THROW(tokenizer.token(3), Error);
  EXPECT_EQ(tokenizer.remarks(),
            std::vector<std::string>{"t.json: 2 added tokens have other ids than it says, as the "
                                     "tokenizers library numbers them: \"<n>\" 4 (not 8), …"});
}

TEST(TokenizerFile, TheLastOfEqualKeysCounts) {
  std::string text = json::serialize(tiny());
  text.replace(text.find("\"b\":2"), 5, "\"b\":9,\"b\":2");
  EXPECT_EQ(Tokenizer::from_json(text).encode("ab b"), (std::vector<int32_t>{3, 0, 2}));
}

TEST(TokenizerFile, BrokenTextIsRefused) {
  const std::string whole = json::serialize(tiny());
  EXPECT_EQ(error_of("[]"), "t.json: the whole is a list, not an object");
  EXPECT_NE(error_of(""), "no error");
  // Cut anywhere, it is a syntax error and nothing worse.
  for (size_t size = 0; size < whole.size(); size += 7) {
    EXPECT_EQ(error_of(whole.substr(0, size)).rfind("t.json: not valid JSON at byte", 0), 0u) << size;
  }
}

TEST(TokenizerFile, ErrorsStayShort) {
  EXPECT_LT(after([](json::object&, json::object& m) { m["unk_token"] = std::string(5000, 'x'); }).size(),
            200u);
}

TEST(TokenizerFile, AbsentOptionsHaveTheLibrarysDefaults) {
  json::value root = tiny();
  for (const char* field : {"version", "truncation", "padding", "normalizer", "pre_tokenizer",
                            "post_processor", "decoder", "added_tokens"}) {
    root.as_object().erase(field);
  }
  json::object& model = root.at("model").as_object();
  for (const char* field : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                            "fuse_unk", "byte_fallback", "ignore_merges"}) {
    model.erase(field);
  }
  const Tokenizer tokenizer = Tokenizer::from_json(json::serialize(root));
  EXPECT_EQ(tokenizer.encode("ab?a"), (std::vector<int32_t>{3, 1}));  // no unk: what is unknown vanishes
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{3, 1}, false), "ab a");
}

TEST(TokenizerFile, TruncationPaddingAndPostProcessorAreLeftAlone) {
  EXPECT_EQ(after([](json::object& r, json::object&) {
              r["padding"] = {{"strategy", {{"Fixed", 8}}}};
              r["truncation"] = {{"max_length", 2}};
              r["post_processor"] = {{"type", "TemplateProcessing"}};
            }),
            "no error");
}

TEST(TokenizerDecoder, StripCutsBothEndsOfEachPiece) {
  Decoder decoder{true, {Strip{"▁", 1, 2}}};
  EXPECT_EQ(decoder({"▁▁a▁▁▁", "▁", "", "b"}), "▁a▁b");
}

TEST(TokenizerSplitter, EachPatternEndsTheWordBeforeIt) {
  const Splitter splitter{" "};
  const std::vector<std::string_view> expected{" ", "a ", " ", "b"};
  EXPECT_EQ(splitter(" a  b"), expected);
  EXPECT_EQ(splitter("").size(), 0u);
}

}  // namespace
}  // namespace lapidary
