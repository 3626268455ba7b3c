#include "coordinator/cli/sinks/draw.h"

#include "configs/error.h"
#include "configs/failure_text.h"
#include "coordinator/dataset/file_names.h"
#include "coordinator/masks/mask_runs.h"
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

/// Cut between two characters of UTF-8, with room for what is put behind it.
std::string shortened(std::string name) {
  constexpr size_t kMost = 240;
  if (name.size() <= kMost) return name;
  size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
  name.resize(end);
  return name;
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
  for (const DetectedBox& box : record.boxes) {
    boxes.push_back({box.xyxy[0], box.xyxy[1], box.xyxy[2], box.xyxy[3], box.label});
    if (box.mask)
      boxes.back().mask = runs_of_coco_counts(box.mask->height, box.mask->width, box.mask->rle).counts;
  }
  draw_boxes(image, boxes);
  make_folder(file.parent_path());
  write_png(file, caption_strip(image, caption_of(record)));
}

}  // namespace

Drawings::Drawings(fs::path folder, TaskPool& pool) : folder_(std::move(folder)), pool_(pool) {
  make_folder(folder_);
}

/// Keys may be absolute, climb out of the folder, be too long for a file's name, or differ in their extension
/// only.
fs::path Drawings::name_for(const std::string& key) {
  fs::path inside;
  for (const fs::path& part : fs::path(key).relative_path())
    if (part != ".." && part != "." && !part.empty()) inside /= shortened(part.string());
  if (inside.empty()) inside = "image";
  if (is_image_name(inside)) inside.replace_extension();
  fs::path name = inside.string() + ".png";
  for (int i = 2; !names_.insert(name).second; ++i) name = inside.string() + "-" + std::to_string(i) + ".png";
  return folder_ / name;
}

void Drawings::name(const DatasetItem& item, bool done) {
  const std::lock_guard lock(mutex_);
  fs::path name = name_for(item.key);
  if (!done && !item.images.empty()) named_[item.index] = std::move(name);
}

void Drawings::add(const Record& record, const DatasetItem& item) {
  fs::path file;
  {
    const std::lock_guard lock(mutex_);
    file = std::move(named_.extract(item.index).mapped());
  }
  pending_.push_back(pool_.submit(
      [record, picture = item.images.front(), file = std::move(file)] { draw(*picture, record, file); }));
}

void Drawings::finish() {
  for (std::future<void>& drawing : pending_) try {
      drawing.get();
    } catch (const std::exception& error) {
      if (failed_++ == 0) first_failure_ = failure_text(error);
    }
  pending_.clear();
}

std::string Drawings::remark() const {
  if (failed_ == 0) return "";
  return failed_ == 1 ? "a drawing could not be made: " + first_failure_
                      : cat(failed_, " drawings could not be made, the first: ", first_failure_);
}

void DrawingSink::add(const DatasetItem& item, const Record& record) {
  constexpr size_t kMost = 64,
                   kMostBytes = size_t{64} << 20;  // pictures of compressed tars are held meanwhile
  if (!record.error) drawings_.add(record, item);
  waiting_.emplace_back(item, record);
  for (const PictureSource& image : item.images) bytes_ += image->data().size();
  if (waiting_.size() >= kMost || bytes_ >= kMostBytes) hand_over();
}

void DrawingSink::commit() {
  hand_over();
  sink_.commit();
}

void DrawingSink::finish(bool whole) {
  hand_over();
  sink_.finish(whole);
}

void DrawingSink::hand_over() {
  drawings_.finish();
  for (const auto& [item, record] : waiting_) sink_.add(item, record);
  waiting_.clear();
  bytes_ = 0;
}

}  // namespace lapidary
