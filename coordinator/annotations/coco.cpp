#include "coordinator/annotations/coco.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <set>

#include "configs/error.h"
#include "configs/json.h"
#include "coordinator/annotations/annotation_file.h"
#include "coordinator/masks/mask_runs.h"
#include "coordinator/records/record.h"
#include "coordinator/text/json_text.h"

namespace lapidary {
namespace fs = std::filesystem;
namespace {

/// Where a record is that went well.
struct Place {
  std::string key;
  const std::string* prompt;
  uint32_t file = 0;
  int32_t width = 0, height = 0;
  int64_t offset = 0;

  bool operator<(const Place& other) const {
    return key != other.key ? key < other.key : *prompt < *other.prompt;
  }
};

struct Corners {
  double x1, y1, x2, y2;
};

Corners corners_of(const JsonObject& box) {
  const std::vector<double> xyxy = box.doubles("xyxy");
  if (xyxy.size() != 4) fail(box.where("xyxy"), " has ", xyxy.size(), " numbers, not 4");
  return {xyxy[0], xyxy[1], xyxy[2], xyxy[3]};
}

/// As model and decoder give them; COCO's boxes have sides.
bool has_area(const Corners& box) { return box.x2 > box.x1 && box.y2 > box.y1; }

/// A comma before each entry of a list but the first.
class List {
 public:
  List(AnnotationFile& out, const char* name) : out_(out) { out_.write(cat("\"", name, "\": [")); }
  void add(const std::string& entry) { out_.write((count_++ == 0 ? "\n" : ",\n") + entry); }
  int64_t count() const { return count_; }

 private:
  AnnotationFile& out_;
  int64_t count_ = 0;
};

class CocoWriter {
 public:
  CocoWriter(const fs::path& file, const std::vector<fs::path>& records) : out_(file), records_(records) {}

  CocoCounts write() {
    for (size_t i = 0; i < records_.size(); ++i) find_records(i);
    std::sort(places_.begin(), places_.end());
    int64_t id = 0;
    for (auto& [label, number] : categories_) number = ++id;
    out_.write(R"({"info": {"description": "made by lapidary caption"}, )");
    write_images();
    out_.write("\n], ");
    write_annotations();
    out_.write("\n], ");
    List categories(out_, "categories");
    for (const auto& [label, number] : categories_)
      categories.add(
          cat(R"({"id": )", number, R"(, "name": )", json_string(label), R"(, "supercategory": ""})"));
    out_.write("\n]}\n");
    out_.finish();
    return counts_;
  }

 private:
  std::string source(size_t file) const { return records_[file].string(); }

  void find_records(size_t file) {
    std::ifstream in(records_[file], std::ios::binary);
    if (!in) fail("cannot read ", source(file));
    int64_t offset = 0;
    for (std::string line; std::getline(in, line); offset += static_cast<int64_t>(line.size()) + 1)
      note(line, file, offset);
    if (in.bad()) fail("cannot read ", source(file));
  }

  void note(const std::string& line, size_t file, int64_t offset) {
    const auto value = parse_json(line, cat(source(file), ", byte ", offset));
    const JsonObject record(value, source(file));
    if (record.required_string("status") != "ok") {
      ++counts_.failed;
      return;
    }
    constexpr int64_t kMostSide = INT32_MAX;
    places_.push_back({record.required_string("key"),
                       &*prompts_.insert(record.required_string("prompt")).first, static_cast<uint32_t>(file),
                       static_cast<int32_t>(record.required_int("width", 1, kMostSide)),
                       static_cast<int32_t>(record.required_int("height", 1, kMostSide)), offset});
    for (const JsonObject& box : record.objects("boxes"))
      if (has_area(corners_of(box))) categories_.emplace(box.required_string("label"), 0);
  }

  /// A picture that was asked several things is one image.
  bool begins_image(size_t place) const { return place == 0 || places_[place].key != places_[place - 1].key; }

  void write_images() {
    List images(out_, "images");
    for (size_t i = 0; i < places_.size(); ++i)
      if (const Place& place = places_[i]; begins_image(i))
        images.add(cat(R"({"id": )", images.count() + 1, R"(, "file_name": )", json_string(place.key),
                       R"(, "width": )", place.width, R"(, "height": )", place.height, "}"));
    counts_.images = images.count();
  }

  void write_annotations() {
    List annotations(out_, "annotations");
    int64_t image = 0;
    for (size_t i = 0; i < places_.size(); ++i) {
      image += begins_image(i);
      const auto value = parse_json(line_at(places_[i]), source(places_[i].file));
      for (const JsonObject& box : JsonObject(value, source(places_[i].file)).objects("boxes")) {
        const Corners corners = corners_of(box);
        if (has_area(corners))
          annotations.add(annotation_text(annotations.count() + 1, image, box, corners));
        else
          ++counts_.empty;
      }
    }
    counts_.annotations = annotations.count();
  }

  std::string line_at(const Place& place) {
    if (open_file_ != place.file) {
      in_ = std::ifstream(records_[place.file], std::ios::binary);
      open_file_ = place.file;
    }
    in_.clear();
    in_.seekg(place.offset);
    std::string line;
    if (!std::getline(in_, line)) fail("cannot read ", source(place.file));
    return line;
  }

  std::string annotation_text(int64_t id, int64_t image, const JsonObject& box, const Corners& corners) {
    const double width = corners.x2 - corners.x1, height = corners.y2 - corners.y1;
    std::string text =
        cat(R"({"id": )", id, R"(, "image_id": )", image, R"(, "category_id": )",
            categories_.at(box.required_string("label")), R"(, "bbox": [)", pixels_text(corners.x1), ", ",
            pixels_text(corners.y1), ", ", pixels_text(width), ", ", pixels_text(height), "]");
    if (const auto mask = box.optional_object("mask")) {
      const std::vector<int64_t> size = mask->ints("size", 1, INT32_MAX);
      if (size.size() != 2) fail(mask->where("size"), " has ", size.size(), " numbers, not 2");
      const std::string counts = mask->required_string("counts");
      const MaskRuns runs = runs_of_coco_counts(static_cast<int>(size[0]), static_cast<int>(size[1]), counts);
      text += cat(R"(, "segmentation": )", mask_text(runs.height, runs.width, counts), R"(, "area": )",
                  runs.area());
    } else {
      text += R"(, "area": )" + pixels_text(width * height);
    }
    return text + R"(, "iscrowd": 0, "score": 1})";
  }

  AnnotationFile out_;
  const std::vector<fs::path>& records_;
  std::vector<Place> places_;
  std::set<std::string> prompts_;
  std::map<std::string, int64_t> categories_;  // their numbers by labels
  CocoCounts counts_;
  std::ifstream in_;
  uint32_t open_file_ = UINT32_MAX;
};

}  // namespace

void check_annotations_file(const fs::path& file) {
  std::error_code error;
  const auto kind = fs::status(file, error).type();
  if (kind != fs::file_type::not_found && kind != fs::file_type::regular)
    fail("--annotations: ", file.string(), " is no regular file");
  const fs::path folder = fs::absolute(file).parent_path();
  if (!fs::is_directory(folder, error)) fail("--annotations: ", folder.string(), " is no folder");
}

CocoCounts write_coco(const fs::path& file, const std::vector<fs::path>& records) {
  return CocoWriter(file, records).write();
}

std::string coco_remark(const fs::path& file, const CocoCounts& counts) {
  std::string text = cat(file.string(), ": ", counts.images, counts.images == 1 ? " image, " : " images, ",
                         counts.annotations, counts.annotations == 1 ? " box" : " boxes");
  if (counts.failed > 0)
    text += cat("; without ", counts.failed,
                counts.failed == 1 ? " record that has an error" : " records that have errors");
  if (counts.empty > 0)
    text += cat("; without ", counts.empty, counts.empty == 1 ? " box that holds" : " boxes that hold",
                " no pixel");
  return text;
}

}  // namespace lapidary
