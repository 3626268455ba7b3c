#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "sharding/checkpoint/safetensors.h"
#include "tests/support/test_data.h"

namespace lapidary {

/// A tensor of a golden file as float32 (int32 values are small, so exact).
struct GoldenTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;

  /// max |a - b| / max |b|, b the reference; infinite for unequal shapes or a NaN.
  double error_against(const GoldenTensor& reference) const {
    if (values.size() != reference.values.size() || shape != reference.shape) return INFINITY;
    double worst = 0, largest = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double difference = std::abs(static_cast<double>(values[i]) - reference.values[i]);
      if (std::isnan(difference)) return INFINITY;
      worst = std::max(worst, difference);
      largest = std::max(largest, std::abs(static_cast<double>(reference.values[i])));
    }
    return largest > 0 ? worst / largest : worst;
  }

  /// sqrt(mean((a - b)²) / mean(b²)): how far a whole tensor is off, for formats whose single values may be.
  double rms_error_against(const GoldenTensor& reference) const {
    if (values.size() != reference.values.size()) return INFINITY;
    double difference = 0, total = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      difference += std::pow(static_cast<double>(values[i]) - reference.values[i], 2);
      total += std::pow(static_cast<double>(reference.values[i]), 2);
    }
    return std::sqrt(difference / total);
  }

  GoldenTensor first_rows(int64_t rows) const {
    const int64_t cols = shape.at(1);
    return {{rows, cols}, {values.begin(), values.begin() + rows * cols}};
  }

  std::vector<int32_t> ints() const { return {values.begin(), values.end()}; }
};

inline std::map<std::string, GoldenTensor> read_tensors(const std::filesystem::path& path) {
  SafetensorsFile file(path);
  std::map<std::string, GoldenTensor> tensors;
  for (const StoredTensor& stored : file.tensors()) {
    GoldenTensor& tensor = tensors[stored.name];
    tensor.shape = stored.shape;
    tensor.values.resize(static_cast<size_t>(stored.size) / 4);
    if (stored.dtype == StoredType::i32) {
      std::vector<int32_t> ints(tensor.values.size());
      std::memcpy(ints.data(), stored.data, static_cast<size_t>(stored.size));
      tensor.values.assign(ints.begin(), ints.end());
    } else {
      std::memcpy(tensor.values.data(), stored.data, static_cast<size_t>(stored.size));
    }
  }
  return tensors;
}

/// One prompt of a golden file: a case may hold several, their tensors under "0.", "1.", ….
struct GoldenPrompt {
  std::string prompt;
  std::vector<std::string> images;
  std::string prefix;  // of its tensors' names
};

struct GoldenRun {
  std::filesystem::path folder;
  std::string file, profile, dtype;
  int64_t max_new_tokens = 0;
  std::vector<GoldenPrompt> prompts;

  std::string name() const {
    std::string text = folder.filename().string() + "_" + profile + "_" + dtype;
    for (char& c : text)
      if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
    return text;
  }
};
inline void PrintTo(const GoldenRun& run, std::ostream* out) { *out << run.name(); }

inline std::vector<GoldenRun> golden_runs() {
  std::vector<GoldenRun> runs;
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(test_data() / "tests/golden/models"))
    if (std::filesystem::exists(entry.path() / "case.json")) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  for (const auto& folder : folders) {
    std::ifstream stream(folder / "case.json");
    const std::string text((std::istreambuf_iterator<char>(stream)), {});
    const boost::json::object root = boost::json::parse(text).as_object();
    GoldenRun run{folder,
                  std::string(root.at("golden").as_string()),
                  std::string(root.at("profile").as_string()),
                  std::string(root.at("dtype").as_string()),
                  root.at("max_new_tokens").as_int64(),
                  {}};
    const auto strings = [](const boost::json::value& list) {
      std::vector<std::string> all;
      for (const auto& item : list.as_array()) all.emplace_back(item.as_string());
      return all;
    };
    if (root.at("prompt").is_array()) {
      const auto prompts = strings(root.at("prompt"));
      for (size_t i = 0; i < prompts.size(); ++i) {
        const auto& images = root.at("images").as_array().at(i);
        run.prompts.push_back(
            {prompts[i], images.is_array() ? strings(images) : std::vector{std::string(images.as_string())},
             std::to_string(i) + "."});
      }
    } else {
      run.prompts.push_back({std::string(root.at("prompt").as_string()), strings(root.at("images")), ""});
    }
    runs.push_back(run);
    if (const auto* also = root.if_contains("also"))
      for (const auto& more : also->as_array()) {
        GoldenRun other = run;
        other.file = more.as_object().at("golden").as_string();
        other.profile = more.as_object().at("profile").as_string();
        other.dtype = more.as_object().at("dtype").as_string();
        runs.push_back(other);
      }
  }
  return runs;
}

}  // namespace lapidary
