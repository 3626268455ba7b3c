#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "coordinator/serve/openai/chat_request.h"
#include "coordinator/serve/openai/completion_request.h"
#include "coordinator/serve/openai/response_request.h"
#include "tests/coordinator/serve/openai/described.h"

namespace lapidary {
namespace {

using namespace testing_support;

/// Three lines of a file: the name, then words that change the limits; the body; what becomes of it.
struct Case {
  std::string name;
  std::string body;
  std::string expected;
  ApiLimits limits;
};

/// Small, so that the file can go beyond them.
ApiLimits small_limits() {
  ApiLimits limits;
  limits.max_images = 2;
  limits.max_image_bytes = 12;
  limits.max_text_bytes = 64;
  limits.max_tokens = 1000;
  limits.max_stop_bytes = 8;
  limits.max_stop_token_ids = 3;
  return limits;
}

void switch_on(const std::string& word, ApiLimits& limits) {
  const std::map<std::string, bool ApiLimits::*> kSwitches = {
      {"+flatten_chat", &ApiLimits::flatten_chat},
      {"+logprobs", &ApiLimits::logprobs},
      {"+min_p", &ApiLimits::min_p},
      {"+repetition_penalty", &ApiLimits::repetition_penalty},
      {"+min_tokens", &ApiLimits::min_tokens},
      {"+priority", &ApiLimits::priority}};
  ASSERT_TRUE(kSwitches.contains(word)) << word;
  limits.*kSwitches.at(word) = true;
}

std::vector<Case> cases_of(const std::string& file) {
  std::ifstream in(std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/openai" / file);
  EXPECT_TRUE(in) << file;
  std::vector<Case> cases;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.front() == '#') continue;
    Case next{"", "", "", small_limits()};
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      if (word.front() == '+') {
        switch_on(word, next.limits);
      } else {
        next.name += (next.name.empty() ? "" : " ") + word;
      }
    }
    std::getline(in, next.body);
    std::getline(in, next.expected);
    cases.push_back(next);
  }
  return cases;
}

template <class Parse>
void expect_cases(const std::string& file, size_t at_least, Parse parse) {
  std::set<std::string> names;
  for (const Case& one : cases_of(file)) {
    EXPECT_TRUE(names.insert(one.name).second) << "twice: " << one.name;
    const std::string got = outcome([&] { return parse(parse_body(one.body), one.limits); });
    if (got != one.expected)
      ADD_FAILURE() << one.name << "\nexpected: " << one.expected << "\ngives:    " << got;
  }
  EXPECT_GE(names.size(), at_least);
}

TEST(OpenAiRequests, Chat) { expect_cases("chat_requests.txt", 100, parse_chat_completion); }

TEST(OpenAiRequests, Completions) { expect_cases("completion_requests.txt", 25, parse_completion); }

TEST(OpenAiRequests, Responses) { expect_cases("response_requests.txt", 25, parse_response_request); }

TEST(OpenAiRequests, Tokenize) { expect_cases("tokenize_requests.txt", 10, parse_tokenize); }

TEST(OpenAiRequests, Detokenize) { expect_cases("detokenize_requests.txt", 5, parse_detokenize); }

}  // namespace
}  // namespace lapidary
