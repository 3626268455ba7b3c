#include "coordinator/inputs.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "configs/error.h"
#include "configs/json.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

bool is_manifest_name(const fs::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".jsonl" || extension == ".ndjson";
}

/// Adds the images below root/below to `keys`. `above` are the folders on the way here: a link back to one of
/// them would go round for ever.
void list_images(const fs::path& root, const std::string& below, std::vector<fs::path>& above,
                 std::vector<std::string>& keys) {
  const fs::path here = fs::canonical(root / below);
  if (std::count(above.begin(), above.end(), here) > 0) return;
  above.push_back(here);
  for (const fs::directory_entry& entry : fs::directory_iterator(here)) {
    const std::string name = entry.path().filename().string();
    if (name.front() == '.') continue;
    const std::string key = below.empty() ? name : below + "/" + name;
    if (entry.is_directory()) {
      list_images(root, key, above, keys);
    } else if (is_image_name(name)) {
      keys.push_back(key);
    }
  }
  above.pop_back();
}

std::vector<std::string> images_below(const fs::path& folder) {
  std::vector<std::string> keys;
  std::vector<fs::path> above;
  try {
    list_images(folder, "", above, keys);
  } catch (const fs::filesystem_error& e) {
    fail(e.path1().empty() ? folder.string() : e.path1().string(), ": ", e.code().message());
  }
  if (keys.empty()) fail(folder.string(), ": a folder without images (.jpg, .jpeg, .png, .webp)");
  std::sort(keys.begin(), keys.end());
  return keys;
}

/// A string, or a number as written.
std::string text_of_id(const JsonObject& line) {
  const boost::json::value& id = line.at("id");
  if (id.is_string()) return line.required_string("id");
  return std::to_string(line.required_int("id"));
}

Item parse_line(const std::string& text, const fs::path& manifest, int64_t number) {
  const std::string where = cat(manifest.string(), ", line ", number);
  const boost::json::value value = parse_json(text, where);
  const JsonObject line(value, where);
  const auto names =
      line.at("image").is_array() ? line.strings("image") : std::vector{line.required_string("image")};
  if (names.empty()) fail(line.where("image"), " is an empty list");
  Item item;
  for (const std::string& name : names) item.images.push_back(manifest.parent_path() / name);
  item.prompt = line.optional_string("prompt");
  item.key = line.has("id") && !line.is_null("id") ? text_of_id(line) : names.front();
  return item;
}

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t\r") == std::string::npos; }

void open_manifest(std::ifstream& file, const fs::path& path) {
  file.open(path, std::ios::binary);
  if (!file) fail(path.string(), ": cannot be opened");
}

/// How many items it holds. A bad line is better found now than after a night's work.
int64_t check_manifest(const fs::path& path) {
  std::ifstream file;
  open_manifest(file, path);
  int64_t items = 0, number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (is_blank(line)) continue;
    parse_line(line, path, number);
    ++items;
  }
  if (file.bad()) fail(path.string(), ": cannot be read beyond line ", number);
  if (items == 0) fail(path.string(), ": a manifest without lines");
  return items;
}

}  // namespace

bool is_image_name(const fs::path& path) {
  constexpr std::array kExtensions{".jpg", ".jpeg", ".png", ".webp"};
  return std::count(kExtensions.begin(), kExtensions.end(), lower_extension(path)) > 0;
}

Inputs::Inputs(const std::vector<fs::path>& sources) {
  if (sources.empty()) fail("no input: name image files, folders or .jsonl manifests");
  for (const fs::path& path : sources) add(path);
}

void Inputs::add(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) fail(path.string(), ": no such file or folder");
  if (error) fail(path.string(), ": ", error.message());
  Source source{path, std::nullopt, false};
  if (fs::is_directory(status)) {
    source.keys = images_below(path);
    total_ += static_cast<int64_t>(source.keys->size());
  } else if (is_manifest_name(path)) {
    source.manifest = true;
    total_ += check_manifest(path);
  } else {
    ++total_;
  }
  sources_.push_back(std::move(source));
}

std::optional<Item> Inputs::next() {
  for (; !sources_.empty(); sources_.pop_front()) {
    const Source& source = sources_.front();
    if (source.keys) {
      if (at_ < source.keys->size()) {
        const std::string& key = (*source.keys)[at_++];
        return Item{key, {source.path / key}, std::nullopt};
      }
      at_ = 0;
    } else if (source.manifest) {
      if (auto item = next_line()) return item;
    } else {
      Item item{source.path.string(), {source.path}, std::nullopt};
      sources_.pop_front();
      return item;
    }
  }
  return std::nullopt;
}

std::optional<Item> Inputs::next_line() {
  const fs::path& path = sources_.front().path;
  if (!file_.is_open()) open_manifest(file_, path);
  for (std::string line; std::getline(file_, line);) {
    ++line_;
    if (!is_blank(line)) return parse_line(line, path, line_);
  }
  file_.close();
  line_ = 0;
  return std::nullopt;
}

}  // namespace lapidary
