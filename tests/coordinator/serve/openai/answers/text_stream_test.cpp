#include "coordinator/serve/openai/answers/text_stream.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

using Ids = std::vector<int32_t>;

const Tokenizer& demo() {
  static const Tokenizer tokenizer =
      Tokenizer::from_file(std::filesystem::path(LAPIDARY_SOURCE_DIR) / "configs/demo/model/tokenizer.json");
  return tokenizer;
}

int32_t id(std::string_view token) { return demo().id_of(token).value(); }

/// The text that the tokens must give, by looking at the whole: up to the first place where a stop string
/// ends, without the longest that ends there.
std::string as_whole(const Ids& ids, const TextStreamOptions& options) {
  const std::string text = demo().decode(ids, options.skip_special_tokens);
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : options.stop)
      if (std::string_view(text).substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    if (longest > 0) return text.substr(0, options.include_stop ? end : end - longest);
  }
  return text;
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  size_t below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(engine_); }

  /// Any tokens, with runs of bytes; or from few letters, so that stop strings overlap themselves.
  Ids ids() {
    Ids few;
    for (const char* token : {"a", "b", "▁a", "▁", "<0xC3>", "<0xA9>", "<0xF0>", "<loc0001>", "<eos>"})
      few.push_back(id(token));
    const bool any = below(2) == 0;
    Ids ids(below(24));
    for (int32_t& one : ids)
      one = any && below(3) > 0 ? static_cast<int32_t>(below(static_cast<size_t>(demo().size())))
                                : few[below(few.size())];
    return ids;
  }

  /// Parts of the text, and such parts with another end.
  std::vector<std::string> stops(const std::string& text) {
    std::vector<std::string> stops;
    for (size_t count = below(4); count > 0 && !text.empty(); --count) {
      const size_t begin = below(text.size());
      std::string stop = text.substr(begin, 1 + below(6));
      if (below(3) == 0) stop += "ab";
      if (!invalid_utf8(stop)) stops.push_back(stop);
    }
    return stops;
  }

 private:
  std::mt19937 engine_;
};

/// All that the stream gives, the tokens cut into pieces of random lengths.
std::string streamed(TextStream& stream, const Ids& ids, Random& random) {
  std::string text;
  for (size_t done = 0; done < ids.size();) {
    const size_t count = 1 + random.below(std::min<size_t>(ids.size() - done, 4));
    const std::string delta = stream.add(std::span(ids).subspan(done, count));
    EXPECT_FALSE(invalid_utf8(delta));
    text += delta;
    done += count;
  }
  return text;
}

TEST(TextStream, GivesTheTextOfTheWholeHoweverTheTokensAreCut) {
  Random random(7);
  size_t stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    const Ids ids = random.ids();
    TextStreamOptions options;
    options.skip_special_tokens = random.below(2) == 0;
    options.include_stop = random.below(2) == 0;
    options.stop = random.stops(demo().decode(ids, options.skip_special_tokens));
    TextStream stream(demo(), options);
    std::string text = streamed(stream, ids, random);
    text += stream.finish();
    ASSERT_EQ(text, as_whole(ids, options)) << "round " << round;
    ASSERT_EQ(text, stream.text());
    ASSERT_FALSE(invalid_utf8(text));
    stopped += stream.stop_string() ? 1 : 0;
  }
  EXPECT_GT(stopped, 5000u);
}

TEST(TextStream, ARestartRepeatsNothing) {
  Random random(8);
  for (int round = 0; round < 5000; ++round) {
    const Ids ids = random.ids();
    TextStreamOptions options{random.stops(demo().decode(ids, true))};
    TextStream stream(demo(), options);
    std::string text;
    for (size_t restarts = random.below(3); restarts > 0; --restarts) {
      text += streamed(
          stream, Ids(ids.begin(), ids.begin() + static_cast<long>(random.below(ids.size() + 1))), random);
      stream.restart();
    }
    text += streamed(stream, ids, random);
    text += stream.finish();
    ASSERT_FALSE(stream.mismatch());
    ASSERT_EQ(text, as_whole(ids, options)) << "round " << round;
  }
}

TEST(TextStream, OtherTokensAfterARestartAreAMismatch) {
  const Ids first{id("a"), id("b"), id("▁a")}, other{id("a"), id("▁a"), id("b")};
  TextStream stream(demo(), {});
  EXPECT_EQ(stream.add(first), "ab a");
  stream.restart();
  EXPECT_EQ(stream.add(other), "");
  ASSERT_TRUE(stream.mismatch());
  EXPECT_EQ(stream.mismatch()->position, 1u);
  EXPECT_EQ(stream.mismatch()->before, id("b"));
  EXPECT_EQ(stream.mismatch()->now, id("▁a"));
  EXPECT_EQ(stream.add(first), "") << "nothing is taken after it";
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.ids(), first);
}

TEST(TextStream, AnEarlierEndAfterARestartIsAMismatch) {
  const Ids ids{id("a"), id("b")};
  TextStream stream(demo(), {});
  stream.add(ids);
  stream.restart();
  stream.add(Ids{id("a")});
  EXPECT_EQ(stream.finish(), "");
  ASSERT_TRUE(stream.mismatch());
  EXPECT_EQ(stream.mismatch()->position, 1u);
  EXPECT_EQ(stream.mismatch()->now, -1);
}

TEST(TextStream, HoldsBackWhatMayBecomeAStopString) {
  TextStream stream(demo(), {{"ab a"}});
  EXPECT_EQ(stream.add(Ids{id("b")}), "b");
  EXPECT_EQ(stream.add(Ids{id("a")}), "");
  EXPECT_EQ(stream.add(Ids{id("b")}), "");
  EXPECT_EQ(stream.add(Ids{id("b")}), "abb") << "it cannot become one any more";
  EXPECT_EQ(stream.add(Ids{id("a"), id("b"), id("▁a"), id("b")}), "");
  EXPECT_EQ(stream.stop_string(), "ab a");
  EXPECT_EQ(stream.ids().size(), 7u) << "the token after the stop is not taken";
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.text(), "babb");
}

TEST(TextStream, WithTheStopStringInTheTextNothingIsHeldBack) {
  TextStreamOptions options{{"ab"}};
  options.include_stop = true;
  TextStream stream(demo(), options);
  EXPECT_EQ(stream.add(Ids{id("a")}), "a");
  EXPECT_EQ(stream.add(Ids{id("b")}), "b");
  EXPECT_EQ(stream.stop_string(), "ab");
}

TEST(TextStream, TheFirstTokensTakeNoPartInAStopString) {
  TextStreamOptions options{{"ab"}};
  options.min_tokens = 3;
  TextStream stream(demo(), options);
  EXPECT_EQ(stream.add(Ids{id("a"), id("b"), id("a"), id("b")}), "abab");
  EXPECT_EQ(stream.add(Ids{id("a"), id("b")}), "");
  EXPECT_EQ(stream.text(), "abab");
  EXPECT_TRUE(stream.stop_string());
}

TEST(TextStream, LocationsSurviveAndSpecialTokensGo) {
  TextStream stream(demo(), {});
  EXPECT_EQ(
      stream.add(Ids{id("<bos>"), id("<loc0012>"), id("<seg007>"), id("<image>"), id("<pad>"), id("<eos>")}),
      "<loc0012><seg007>");
}

}  // namespace
}  // namespace lapidary
