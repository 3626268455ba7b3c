#include "coordinator/text/tokenizer_read.h"

#include <algorithm>
#include <boost/json.hpp>

#include "configs/error.h"
#include "configs/json.h"
#include "coordinator/text/tokenizer_read_added.h"
#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

namespace json = boost::json;

[[noreturn]] void refuse(const JsonObject& object, const std::string& type, const char* supported) {
  fail(object.where("type"), " is ", in_quotes(type), "; supported: ", supported);
}

Replace read_replace(const JsonObject& object) {
  const JsonObject pattern = object.required_object("pattern");
  if (!pattern.has("String"))
    fail(pattern.where("String"), " is missing (regular expressions are not supported)");
  Replace replace{pattern.required_string("String"), object.required_string("content")};
  if (replace.pattern.empty()) fail(pattern.where("String"), " is empty");
  return replace;
}

void read_normalizer(const JsonObject& object, Normalizer& normalizer) {
  const std::string type = object.required_string("type");
  if (type == "Sequence") {
    for (const JsonObject& step : object.objects("normalizers")) read_normalizer(step, normalizer);
  } else if (type == "Replace") {
    normalizer.steps.emplace_back(read_replace(object));
  } else if (type == "Prepend") {
    normalizer.steps.emplace_back(Prepend{object.required_string("prepend")});
  } else {
    refuse(object, type, "Replace, Prepend, Sequence");
  }
}

Splitter read_splitter(const JsonObject& object) {
  const std::string type = object.required_string("type");
  if (type != "Split") refuse(object, type, "Split");
  const JsonObject pattern = object.required_object("pattern");
  if (!pattern.has("String"))
    fail(pattern.where("String"), " is missing (regular expressions are not supported)");
  Splitter splitter{pattern.required_string("String")};
  if (splitter.pattern.empty()) fail(pattern.where("String"), " is empty");
  const std::string behavior = object.required_string("behavior");
  if (behavior != "MergedWithPrevious") {
    fail(object.where("behavior"), " is ", in_quotes(behavior), "; supported: MergedWithPrevious");
  }
  if (object.required_bool("invert")) fail(object.where("invert"), " is true, which is not supported");
  return splitter;
}

Strip read_strip(const JsonObject& object) {
  Strip strip{object.required_string("content"), size_t(object.required_int("start", 0)),
              size_t(object.required_int("stop", 0))};
  if (strip.content.empty() || utf8_length(strip.content[0]) != strip.content.size()) {
    fail(object.where("content"), " is ", in_quotes(strip.content), ", not one character");
  }
  return strip;
}

void read_decoder(const JsonObject& object, Decoder& decoder) {
  const std::string type = object.required_string("type");
  decoder.present = true;
  if (type == "Sequence") {
    for (const JsonObject& step : object.objects("decoders")) read_decoder(step, decoder);
  } else if (type == "Replace") {
    decoder.steps.emplace_back(read_replace(object));
  } else if (type == "ByteFallback") {
    decoder.steps.emplace_back(ByteFallback{});
  } else if (type == "Fuse") {
    decoder.steps.emplace_back(Fuse{});
  } else if (type == "Strip") {
    decoder.steps.emplace_back(read_strip(object));
  } else {
    refuse(object, type, "Replace, ByteFallback, Fuse, Strip, Sequence");
  }
}

/// Bytes that a step may make of the longest text that one byte has become so far.
double grown(const Replace& step, double bytes) {
  return bytes * std::max(1.0, double(step.content.size()) / double(step.pattern.size()));
}
/// Before every part of a text, the shortest of which is one byte.
double grown(const Prepend& step, double bytes) { return bytes + double(step.text.size()); }
template <class Shortening>
double grown(const Shortening&, double bytes) {
  return bytes;
}

/// Steps that each lengthen a text multiply; a file must not make a line of text fill the memory.
template <class Steps>
void require_bounded(const Steps& steps, const std::string& where) {
  constexpr double kMax = 64;
  double growth = 1;
  for (const auto& step : steps)
    growth = std::visit([&](const auto& what) { return grown(what, growth); }, step);
  if (growth > kMax) fail(where, " makes a text up to ", growth, " times longer, more than ", kMax, " times");
}

/// The largest id of a vocabulary. Gaps between ids are read as the library reads them, within reason.
int64_t largest_id(const JsonObject& model, const json::object& entries) {
  constexpr size_t kMaxPieces = size_t{1} << 30;
  constexpr int64_t kMaxGaps = int64_t{1} << 22;
  if (entries.size() > kMaxPieces)
    fail(model.where("vocab"), " has ", entries.size(), " pieces, more than ", kMaxPieces);
  const int64_t most = static_cast<int64_t>(entries.size()) - 1 + kMaxGaps;
  int64_t largest = -1;
  for (const auto& [key, value] : entries) {
    const auto* id = value.if_int64();
    if (!id || *id < 0 || *id > most)
      fail(model.where("vocab"), ": piece ", in_quotes({key.data(), key.size()}), " has the id ",
           json::serialize(value), ", not a whole number from 0 to ", most);
    largest = std::max(largest, *id);
  }
  return largest;
}

Vocabulary read_vocabulary(const JsonObject& model) {
  const JsonObject vocab = model.required_object("vocab");
  std::vector<std::string_view> pieces(static_cast<size_t>(largest_id(model, vocab.raw()) + 1));
  for (const auto& [key, value] : vocab.raw()) {
    std::string_view& piece = pieces[static_cast<size_t>(value.get_int64())];
    if (piece.data() != nullptr)
      fail(model.where("vocab"), ": pieces ", in_quotes(piece), " and ", in_quotes({key.data(), key.size()}),
           " both have the id ", value.get_int64());
    piece = {key.data(), key.size()};
  }
  return Vocabulary(pieces);
}

/// The two halves of a merge, in either notation: "a b" or ["a", "b"].
std::pair<std::string_view, std::string_view> halves(const json::value& entry, bool old_notation,
                                                     const JsonObject& model, size_t index) {
  const auto view = [](const json::string& s) { return std::string_view(s.data(), s.size()); };
  if (const auto* text = entry.if_string(); text && old_notation) {
    const size_t space = view(*text).find(' ');
    if (space != std::string_view::npos && view(*text).find(' ', space + 1) == std::string_view::npos) {
      return {view(*text).substr(0, space), view(*text).substr(space + 1)};
    }
  }
  if (const auto* pair = entry.if_array(); pair && !old_notation && pair->size() == 2) {
    if ((*pair)[0].is_string() && (*pair)[1].is_string()) {
      return {view((*pair)[0].get_string()), view((*pair)[1].get_string())};
    }
  }
  fail(model.where("merges"), "[", index, "] is not two pieces written as the list begins, ",
       old_notation ? "\"a b\"" : "[\"a\", \"b\"]");
}

std::vector<Merge> read_merges(const JsonObject& model, const Vocabulary& vocabulary) {
  const json::array& list = model.required_list("merges");
  const bool old_notation = !list.empty() && list[0].is_string();
  std::vector<Merge> merges;
  merges.reserve(list.size());
  std::string joined;
  for (size_t i = 0; i < list.size(); ++i) {
    // A header line of the older merges.txt, which the library passes over.
    if (old_notation && list[i].is_string() && list[i].get_string().starts_with("#version")) continue;
    const auto [left, right] = halves(list[i], old_notation, model, i);
    const auto id = [&](std::string_view piece) {
      const auto found = vocabulary.id_of(piece);
      if (!found)
        fail(model.where("merges"), "[", i, "]: piece ", in_quotes(piece), " is not in model.vocab");
      return *found;
    };
    joined.assign(left).append(right);
    merges.push_back({id(left), id(right), id(joined)});
  }
  return merges;
}

void require_absent(const JsonObject& model, const char* field) {
  const auto value = model.optional_string(field);
  if (value && !value->empty())
    fail(model.where(field), " is ", in_quotes(*value), ", which is not supported");
}

Bpe read_model(const JsonObject& model) {
  const std::string type = model.required_string("type");
  if (type != "BPE") refuse(model, type, "BPE");
  require_absent(model, "continuing_subword_prefix");
  require_absent(model, "end_of_word_suffix");
  if (model.optional_double("dropout").value_or(0) != 0)
    fail(model.where("dropout"), " is not 0: encoding is no game of chance");
  Vocabulary vocabulary = read_vocabulary(model);
  const std::vector<Merge> merges = read_merges(model, vocabulary);
  BpeOptions options;
  options.byte_fallback = model.optional_bool("byte_fallback").value_or(false);
  options.fuse_unk = model.optional_bool("fuse_unk").value_or(false);
  options.ignore_merges = model.optional_bool("ignore_merges").value_or(false);
  if (const auto unk = model.optional_string("unk_token")) {
    options.unk = vocabulary.id_of(*unk);
    if (!options.unk)
      fail(model.where("unk_token"), " is ", in_quotes(*unk), ", which is not in model.vocab");
  }
  return Bpe(std::move(vocabulary), merges, options);
}

}  // namespace

std::string in_quotes(std::string_view piece) {
  constexpr size_t kLongest = 60;
  std::string shown = json::serialize(json::value(json::string_view(piece.data(), piece.size())));
  return shown.size() <= kLongest ? shown : shown.substr(0, kLongest) + "…";
}

TokenizerParts read_tokenizer(std::string_view text, const std::string& source) {
  json::monotonic_resource memory(text.size() + 1);  // one block instead of a million allocations
  const json::value value = parse_json(text, source, &memory);
  const JsonObject root(value, source);
  if (const std::string version = root.string_or("version", "1.0"); version != "1.0") {
    fail(root.where("version"), " is ", in_quotes(version), ", not \"1.0\"");
  }
  TokenizerParts parts{{}, {}, read_model(root.required_object("model")), {}, {}, {}};
  parts.remarks = read_added_tokens(root, source, parts.bpe.vocabulary(), parts.added);
  if (const auto normalizer = root.optional_object("normalizer"))
    read_normalizer(*normalizer, parts.normalizer);
  if (const auto splitter = root.optional_object("pre_tokenizer")) parts.splitter = read_splitter(*splitter);
  if (const auto decoder = root.optional_object("decoder")) read_decoder(*decoder, parts.decoder);
  require_bounded(parts.normalizer.steps, root.where("normalizer"));
  require_bounded(parts.decoder.steps, root.where("decoder"));
  return parts;
}

}  // namespace lapidary
