#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lapidary {

/// What became of records in a file of annotations.
struct CocoCounts {
  int64_t images = 0, annotations = 0;
  int64_t failed = 0;  // records with an error, which it leaves out
  int64_t empty = 0;   // boxes without a pixel in them, which it leaves out
};

/// Throws a sentence where no file can be put there. For the door: writing comes hours later.
void check_annotations_file(const std::filesystem::path& file);

/// The records of these files as one dataset of COCO's: an image for each key whose picture was read, named
/// by the key; an annotation for each box, with its mask as run lengths where the record has one, and a score
/// of 1, for the model gives none; a category for each label. Numbered from 1 in the order of the keys, of an
/// image's boxes, of the labels: the same records in other files and another order give the same bytes. The
/// file appears whole. About 120 bytes of memory a record.
CocoCounts write_coco(const std::filesystem::path& file, const std::vector<std::filesystem::path>& records);

/// "coco.json: 12 images, 20 boxes of things; …"
std::string coco_remark(const std::filesystem::path& file, const CocoCounts& counts);

}  // namespace lapidary
