#include "coordinator/text/tokenizer_read_added.h"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "configs/error.h"
#include "coordinator/text/tokenizer_read.h"

namespace lapidary {
namespace {

AddedToken read_added_token(const JsonObject& object) {
  AddedToken token;
  token.id = static_cast<int32_t>(object.required_int("id", 0, std::numeric_limits<int32_t>::max()));
  token.content = object.required_string("content");
  token.single_word = object.required_bool("single_word");
  token.lstrip = object.required_bool("lstrip");
  token.rstrip = object.required_bool("rstrip");
  token.normalized = object.required_bool("normalized");
  token.special = object.required_bool("special");
  return token;
}

/// Numbers added tokens as the library does, whatever ids the file gives them: a piece of the vocabulary
/// keeps its id, a new one has the next that is free; one that is empty or was there before counts no more.
class AddedTokens {
 public:
  AddedTokens(const Vocabulary& vocabulary, std::vector<AddedToken>& tokens)
      : vocabulary_(vocabulary), tokens_(tokens) {}

  void add(AddedToken token, const JsonObject& object) {
    const auto [known, is_new] = places_.emplace(token.content, tokens_.size());
    if (token.content.empty() || !is_new) {
      ++ignored_;
      if (!is_new) tokens_[known->second].special |= token.special;
      return;
    }
    const int32_t id = vocabulary_.id_of(token.content)
                           .value_or(largest_ >= vocabulary_.count() ? largest_ + 1 : vocabulary_.count());
    if (vocabulary_.holds(id) && vocabulary_.piece(id) != token.content)
      fail(object.where("content"), ": ", in_quotes(token.content), " gets the id ", id, ", the next after ",
           vocabulary_.count(), " pieces, which ", in_quotes(vocabulary_.piece(id)), " has in model.vocab");
    if (id != token.id) others_.push_back(cat(in_quotes(token.content), " ", id, " (not ", token.id, ")"));
    largest_ = std::max(largest_, id);
    token.id = id;
    tokens_.push_back(std::move(token));
  }

  std::vector<std::string> remarks(const std::string& source) const {
    std::vector<std::string> said;
    if (!others_.empty())
      said.push_back(cat(source, ": ", others_.size(),
                         others_.size() == 1 ? " added token has another id" : " added tokens have other ids",
                         " than it says, as the tokenizers library numbers them: ", others_.front(),
                         others_.size() > 1 ? ", …" : ""));
    if (ignored_ > 0)
      said.push_back(cat(source, ": ", ignored_, " of added_tokens ", ignored_ == 1 ? "is" : "are",
                         " empty or listed twice, and left out as the tokenizers library does"));
    return said;
  }

 private:
  const Vocabulary& vocabulary_;
  std::vector<AddedToken>& tokens_;
  std::unordered_map<std::string, size_t> places_;  // of a content, in tokens_
  int32_t largest_ = -1;                            // id of an added token
  int64_t ignored_ = 0;
  std::vector<std::string> others_;  // tokens whose ids are not the file's
};

}  // namespace

std::vector<std::string> read_added_tokens(const JsonObject& root, const std::string& source,
                                           const Vocabulary& vocabulary, std::vector<AddedToken>& tokens) {
  if (!root.has("added_tokens")) return {};
  AddedTokens added(vocabulary, tokens);
  for (const JsonObject& object : root.objects("added_tokens")) added.add(read_added_token(object), object);
  return added.remarks(source);
}

}  // namespace lapidary
