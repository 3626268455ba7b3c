#include "coordinator/cli/draw.h"

#include <chrono>

#include "configs/error.h"
#include "coordinator/dataset/file_names.h"
#include "worker/images/draw.h"
#include "worker/images/image_source.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("cannot make the folder ", folder.string(), ": ", error.message());
}

/// What is written below the picture: the text without its boxes, or else what was asked.
std::string caption_of(const Record& record) {
  std::string caption;
  for (const std::string& text : parse_boxes(record.text, record.width, record.height).text)
    caption += (caption.empty() ? "" : " ") + text;
  return caption.empty() ? record.prompt : caption;
}

void draw(const wire::ImageSource& picture, const Record& record, const fs::path& file) {
  Image image = decode_image(read_source(picture));
  std::vector<Box> boxes;
  for (const DetectedBox& box : record.boxes)
    boxes.push_back({box.xyxy[0], box.xyxy[1], box.xyxy[2], box.xyxy[3], box.label});
  draw_boxes(image, boxes);
  make_folder(file.parent_path());
  write_png(file, caption_strip(image, caption_of(record)));
}

}  // namespace

Drawings::Drawings(fs::path folder, TaskPool& pool) : folder_(std::move(folder)), pool_(pool) {
  make_folder(folder_);
}

/// Keys may be absolute, climb out of the folder, or differ in their extension only.
fs::path Drawings::name_for(const std::string& key) {
  fs::path inside;
  for (const fs::path& part : fs::path(key).relative_path())
    if (part != ".." && part != "." && !part.empty()) inside /= part;
  if (inside.empty()) inside = "image";
  if (is_image_name(inside)) inside.replace_extension();
  fs::path name = inside.string() + ".png";
  for (int i = 2; !names_.insert(name).second; ++i) name = inside.string() + "-" + std::to_string(i) + ".png";
  return folder_ / name;
}

void Drawings::add(const Record& record, const DatasetItem& item) {
  collect(false);
  pending_.push_back(pool_.submit(
      [record, picture = item.images.front(), file = name_for(record.key)] { draw(picture, record, file); }));
}

void Drawings::finish() { collect(true); }

void Drawings::collect(bool wait) {
  while (!pending_.empty() &&
         (wait || pending_.front().wait_for(std::chrono::seconds(0)) == std::future_status::ready)) {
    std::future<void> done = std::move(pending_.front());
    pending_.pop_front();
    done.get();
  }
}

}  // namespace lapidary
