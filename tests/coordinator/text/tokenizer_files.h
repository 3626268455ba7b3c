#pragma once

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "configs/json.h"
#include "coordinator/text/tokenizer.h"

namespace lapidary::testing_support {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/tokenizer" / name;
}

inline std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  EXPECT_TRUE(in) << file;
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

inline std::string json_string(const std::string& text) {
  return std::string(parse_json(text, "golden").as_string());
}

inline std::vector<int32_t> ids_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<int32_t> ids;
  for (int64_t id = 0; in >> id;) ids.push_back(static_cast<int32_t>(id));
  return ids;
}

inline std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields{""};
  for (const char c : line) c == '\t' ? void(fields.emplace_back()) : void(fields.back() += c);
  return fields;
}

inline boost::json::value added_token(int64_t id, const std::string& content, bool normalized, bool special) {
  return {{"id", id},        {"content", content},       {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", normalized}, {"special", special}};
}

/// Gemma's own tokenizer with PaliGemma's <loc…>, <seg…> and <image>; none where the file is not beside the
/// checkout.
inline std::optional<Tokenizer> load_gemma() {
  const auto file = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "../shared/data/gemma/tokenizer.json.xz";
  if (!std::filesystem::exists(file)) return std::nullopt;
  std::string text;
  std::FILE* pipe = popen(("xz -dc '" + file.string() + "'").c_str(), "r");
  char block[1 << 16];
  for (size_t read = 0; (read = std::fread(block, 1, sizeof block, pipe)) > 0;) text.append(block, read);
  if (pclose(pipe) != 0) return std::nullopt;
  boost::json::monotonic_resource memory(text.size());
  boost::json::value root = parse_json(text, file.string(), &memory);
  boost::json::array& added = root.at("added_tokens").as_array();
  int64_t id = 256000;
  for (int i = 0; i < 1024; ++i) {
    const std::string digits = std::to_string(10000 + i).substr(1);
    added.push_back(added_token(id++, "<loc" + digits + ">", true, false));
  }
  for (int i = 0; i < 128; ++i) {
    const std::string digits = std::to_string(1000 + i).substr(1);
    added.push_back(added_token(id++, "<seg" + digits + ">", true, false));
  }
  added.push_back(added_token(id, "<image>", false, true));
  return Tokenizer::from_json(boost::json::serialize(root), "gemma");
}

}  // namespace lapidary::testing_support
