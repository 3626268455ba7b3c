#include "coordinator/dataset/input_manifest.h"

#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "configs/error.h"
#include "configs/json.h"
#include "coordinator/dataset/file_names.h"

namespace lapidary {
namespace {

/// A string, or a list of strings of which there is at least one.
std::vector<std::string> strings(const JsonObject& line, std::string_view field) {
  std::vector<std::string> all;
  if (line.at(field).is_array())
    all = line.strings(field);
  else
    all.push_back(line.required_string(field));
  if (all.empty()) fail(line.where(field), " is an empty list");
  return all;
}

/// A string, or a number: a whole one without a point, however it is written.
std::string text_of_id(const JsonObject& line) {
  const boost::json::value& id = line.at("id");
  if (id.is_string()) return line.required_string("id");
  const double number = line.required_double("id");
  if (id.is_uint64()) return std::to_string(id.get_uint64());
  if (id.is_int64() || (std::trunc(number) == number && std::abs(number) <= 0x1p53))
    return std::to_string(line.required_int("id"));
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.begin(), text.end(), number).ptr};
}

/// `where` names the line. A NUL byte would end the name where the system reads it: another file.
PictureSource image_at(const std::string& folder, const std::string& name, const std::string& where) {
  if (name.find('\0') != name.npos)
    fail(where, ": the name of an image holds a NUL byte; names are separated by line ends");
  return picture_file(name.front() == '/' ? name : folder + "/" + name);
}

std::string at_line(const std::string& path, int64_t number) {
  return (path == "-" ? "standard input" : path) + ", line " + std::to_string(number);
}

std::string folder_of(const std::string& path) {
  const auto folder = path == "-" ? std::filesystem::current_path()
                                  : std::filesystem::path(absolute_path(path)).parent_path();
  return folder == "/" ? "" : folder.string();
}

}  // namespace

SourceItem parse_manifest_line(std::string_view text, const std::string& folder, const std::string& where,
                               const std::string& label) {
  // Millions of lines: a line's values live on the stack.
  std::array<unsigned char, 4096> memory;
  boost::json::monotonic_resource resource(memory.data(), memory.size());
  if (text.substr(0, text.find_first_of("{[") + 1).ends_with('['))
    fail(where, ": a list begins here; a manifest has one object {\"image\": PATH, …} a line (JSON Lines)");
  const boost::json::value value = parse_json(text, where, &resource);
  const JsonObject line(value, where);
  const auto names = strings(line, "image");
  SourceItem found;
  for (const std::string& name : names) {
    if (name.empty()) fail(line.where("image"), " is empty");
    found.images.push_back(image_at(folder, name, where));
  }
  if (line.has("prompt") && !line.is_null("prompt")) found.prompts = strings(line, "prompt");
  if (line.has("id") && !line.is_null("id"))
    found.key = text_of_id(line);
  else
    found.key = (names.front().front() == '/' ? "" : label) + names.front();
  if (line.has("id") && !line.is_null("id")) found.name = found.key;
  for (const std::string& name : names) found.name += cat('\0', name);
  return found;
}

ManifestReader::ManifestReader(const std::string& path, const std::string& label,
                               const std::atomic<bool>* cancelled)
    : path_(path), label_(label), folder_(folder_of(path)), lines_(path, cancelled) {}

SourceItem ManifestReader::parse(std::string_view line) const {
  const bool list = path_ == "-";
  if (list && line.back() == '\r') line.remove_suffix(1);
  if (!list || line.front() == '{')
    return parse_manifest_line(line, folder_, at_line(path_, lines_.number()), label_);
  const std::string name(line);
  return {plain_path(name),
          {image_at(folder_, name, at_line(path_, lines_.number()))},
          {},
          std::nullopt,
          name,
          false};
}

std::optional<SourceItem> ManifestReader::next() {
  if (ended_) return std::nullopt;
  SourceItem bad;
  bad.broken = true;
  try {
    std::string_view line;
    if (!lines_.next(line)) return std::nullopt;
    ended_ = path_ != "-" && is_json_list(line, lines_.number());
    return parse(line);
  } catch (const Error& error) {
    bad.error = error.what();
  }
  bad.key = cat(path_ == "-" ? "stdin" : path_, ":", lines_.number());
  return bad;
}

bool is_json_list(std::string_view line, int64_t number) {
  return number == 1 && line[line.find_first_not_of(" \t")] == '[';
}

int64_t check_manifest(const std::string& path, int64_t lines) {
  const std::string folder = folder_of(path);
  LineReader reader(path);
  std::string_view line;
  if (!reader.next(line)) fail(path, ": a manifest without lines");
  int64_t read = 0;
  do {
    parse_manifest_line(line, folder, at_line(path, reader.number()));
  } while (++read < lines && reader.next(line));
  return read;
}

}  // namespace lapidary
