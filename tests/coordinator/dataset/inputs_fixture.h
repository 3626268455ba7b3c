#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "configs/error.h"
#include "coordinator/dataset/inputs.h"
#include "coordinator/dataset/item_keys.h"
#include "tests/support/temp_folder.h"

namespace lapidary {

/// A folder for real files, and what Inputs makes of them. Each job read is counted too.
class InputsFixture : public testing::Test {
 protected:
  using Strings = std::vector<std::string>;

  std::string write(const std::string& name, const std::string& text = "x") const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
    return at(name);
  }
  std::string at(const std::string& name) const { return (root_ / name).string(); }

  static std::vector<DatasetItem> rest(Inputs& inputs) {
    std::vector<DatasetItem> items;
    while (auto item = inputs.next()) items.push_back(*item);
    return items;
  }
  static std::vector<DatasetItem> all(const Strings& sources, const Strings& prompts = {}) {
    Inputs inputs(sources, InputRules{prompts, false, {}});
    auto items = rest(inputs);
    ItemKeys keys(inputs.only_tars());
    for (DatasetItem& item : items) keys.name(item);
    for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ(items[i].index, static_cast<int64_t>(i));
    const std::atomic<bool> cancelled{false};
    EXPECT_EQ(count_items(sources, prompts.size(), cancelled), static_cast<int64_t>(items.size()));
    return items;
  }
  static Strings keys(const std::vector<DatasetItem>& items) {
    Strings keys;
    for (const DatasetItem& item : items) keys.push_back(item.key);
    return keys;
  }
  static Strings keys(const Strings& sources) { return keys(all(sources)); }
  static Strings paths(const DatasetItem& item) {
    Strings paths;
    for (const PictureSource& image : item.images) paths.push_back(image->path());
    return paths;
  }
  static std::string refusal(const Strings& sources, bool strict = false) {
    try {
      Inputs inputs(sources, InputRules{{}, strict, {}});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  /// What is left out of the sources, once all is read.
  static std::string left_out(const Strings& sources) {
    Inputs inputs(sources);
    rest(inputs);
    return inputs.left_out().text();
  }

  TempFolder folder_;
  std::filesystem::path root_ = folder_.path();
};

}  // namespace lapidary
