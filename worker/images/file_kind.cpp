#include "worker/images/file_kind.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "configs/error.h"

namespace lapidary {
namespace {

using namespace std::string_view_literals;

constexpr char kConvert[] = "convert it to one of them";
constexpr char kUnpack[] = "unpack it first";
constexpr char kFetchAgain[] = "fetch the picture again";
constexpr char kTextMode[] = "copy it again, as binary";
constexpr char kNoPicture[] = "it holds no picture";

struct Signature {
  size_t at;  // bytes before it
  std::string_view bytes;
  const char* kind;
  const char* advice;
};

constexpr Signature kSignatures[] = {
    {0, "GIF87a"sv, "a GIF image", kConvert},
    {0, "GIF89a"sv, "a GIF image", kConvert},
    {0, "II*\0"sv, "a TIFF image", kConvert},
    {0, "MM\0*"sv, "a TIFF image", kConvert},
    {0, "II+\0"sv, "a BigTIFF image", kConvert},
    {0, "MM\0+"sv, "a BigTIFF image", kConvert},
    {0, "II\xbc"sv, "a JPEG XR image", kConvert},
    {0, "\0\0\0\x0cjP  \r\n\x87\n"sv, "a JPEG 2000 image", kConvert},
    {0, "\xff\x4f\xff\x51"sv, "a JPEG 2000 image", kConvert},
    {0, "\0\0\0\x0cJXL \r\n\x87\n"sv, "a JPEG XL image", kConvert},
    {0, "\xff\x0a"sv, "a JPEG XL image", kConvert},
    {0, "\xff\xd8"sv, "the beginning of a JPEG image", kFetchAgain},
    {0, "8BPS"sv, "a Photoshop image", kConvert},
    {0, "gimp xcf"sv, "a GIMP image", kConvert},
    {0, "qoif"sv, "a QOI image", kConvert},
    {0, "DDS "sv, "a DDS image", kConvert},
    {0, "\x76\x2f\x31\x01"sv, "an OpenEXR image", kConvert},
    {0, "#?RADIANCE"sv, "a Radiance HDR image", kConvert},
    {0, "#?RGBE"sv, "a Radiance HDR image", kConvert},
    {0, "SIMPLE  ="sv, "a FITS image", kConvert},
    {128, "DICM"sv, "a DICOM image", kConvert},
    {0, "\x8aMNG"sv, "an MNG animation", kConvert},
    {0, "\x8bJNG"sv, "a JNG image", kConvert},
    {0, "BPG\xfb"sv, "a BPG image", kConvert},
    {0, "FLIF"sv, "a FLIF image", kConvert},
    {0, "\x89PNG"sv, "a PNG image whose line ends were changed on the way", kTextMode},
    {0, "%PDF-"sv, "a PDF document", kConvert},
    {0, "%!PS"sv, "a PostScript document", kConvert},
    {0, "\xc5\xd0\xd3\xc6"sv, "an EPS document", kConvert},
    {8, "AVI "sv, "an AVI video", kNoPicture},
    {8, "WAVE"sv, "a WAV recording", kNoPicture},
    {0, "\x1a\x45\xdf\xa3"sv, "a Matroska or WebM video", kNoPicture},
    {0, "\0\0\x01\xba"sv, "an MPEG video", kNoPicture},
    {0, "OggS"sv, "an Ogg recording", kNoPicture},
    {0, "ID3"sv, "an MP3 recording", kNoPicture},
    {0, "\x1f\x8b"sv, "gzip-compressed data", kUnpack},
    {0, "\x28\xb5\x2f\xfd"sv, "zstd-compressed data", kUnpack},
    {0, "\xfd\x37zXZ\0"sv, "xz-compressed data", kUnpack},
    {0, "BZh"sv, "bzip2-compressed data", kUnpack},
    {0, "\x04\x22\x4d\x18"sv, "lz4-compressed data", kUnpack},
    {0, "PK\x03\x04"sv, "a zip archive", kUnpack},
    {0, "PK\x05\x06"sv, "an empty zip archive", kNoPicture},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7-Zip archive", kUnpack},
    {0, "Rar!\x1a"sv, "a RAR archive", kUnpack},
    {257, "ustar"sv, "a tar archive", "give it a name that ends in .tar"},
    {0, "PAR1"sv, "a Parquet table", kNoPicture},
    {0, "\x89HDF"sv, "an HDF5 file", kNoPicture},
    {0, "\x93NUMPY"sv, "a NumPy array", kNoPicture},
    {0, "SQLite format 3"sv, "an SQLite database", kNoPicture},
    {0, "\0\x05\x16\x07"sv, "macOS' notes about a file (AppleDouble)", kNoPicture},
    {0, "\x7f\x45LF"sv, "a program", kNoPicture},
    {0, "version https://git-lfs.github.com/spec/"sv, "a git-lfs pointer",
     "`git lfs pull` fetches the file that it stands for"},
    {0, "data:image/"sv, "a data URL", "write the bytes that it encodes"},
    {0, "/9j/"sv, "a JPEG image in base64", "write the bytes that it encodes"},
    {0, "iVBORw0KGgo"sv, "a PNG image in base64", "write the bytes that it encodes"},
    {0, "UklGR"sv, "a WebP image in base64", "write the bytes that it encodes"},
};

std::string sentence(const char* kind, const char* advice) { return cat(kind, ": ", advice); }

std::string by_signature(std::string_view bytes) {
  for (const Signature& known : kSignatures)
    if (bytes.size() >= known.at && bytes.substr(known.at).starts_with(known.bytes))
      return sentence(known.kind, known.advice);
  return "";
}

uint32_t le16(std::string_view bytes, size_t at) {
  return static_cast<uint8_t>(bytes[at]) | static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + 1])) << 8;
}

/// ISO media files name themselves, and what else can read them, by brands of four letters.
std::string by_brand(std::string_view bytes) {
  if (bytes.size() < 12 || bytes.substr(4, 4) != "ftyp") return "";
  const size_t size = static_cast<uint8_t>(bytes[2]) * 256u + static_cast<uint8_t>(bytes[3]);
  const std::string_view brands = bytes.substr(0, std::clamp<size_t>(size, 12, 256));
  const auto has = [&](std::string_view brand) {
    for (size_t at = 8; at + 4 <= brands.size(); at += at == 8 ? 8 : 4)
      if (brands.substr(at).starts_with(brand)) return true;
    return false;
  };
  if (has("avi"sv)) return sentence("an AVIF image", kConvert);
  if (has("he"sv) || has("mif1"sv) || has("msf1"sv)) return sentence("a HEIC image", kConvert);
  if (has("crx "sv)) return sentence("a Canon raw image", kConvert);
  return sentence("a video (MP4 or QuickTime)", kNoPicture);
}

/// Formats whose first bytes alone say too little.
std::string by_header(std::string_view bytes) {
  constexpr auto kFooter = "TRUEVISION-XFILE.\0"sv;
  if (bytes.ends_with(kFooter)) return sentence("a TGA image", kConvert);
  if (bytes.size() < 18) return "";
  const uint32_t dib = le16(bytes, 14);  // size of a BMP's second header
  if (bytes.starts_with("BM"sv) && dib >= 12 && dib <= 124) return sentence("a BMP image", kConvert);
  if (bytes[0] == 'P' && ((bytes[1] >= '1' && bytes[1] <= '7') || bytes[1] == 'f' || bytes[1] == 'F') &&
      std::isspace(static_cast<unsigned char>(bytes[2])))
    return sentence("a PPM image (or another of Netpbm's)", kConvert);
  if (bytes[0] == '\x0a' && bytes[1] >= 0 && bytes[1] <= 5 && bytes[2] == 1)
    return sentence("a PCX image", kConvert);
  const bool counts_pictures = le16(bytes, 4) > 0 && bytes[9] == 0;
  if (bytes.starts_with("\0\0\1\0"sv) && counts_pictures) return sentence("an ICO image", kConvert);
  if (bytes.starts_with("\0\0\2\0"sv) && counts_pictures) return sentence("a mouse cursor (CUR)", kConvert);
  const auto among = [](std::string_view values, char value) { return values.find(value) != values.npos; };
  if (among("\0\1"sv, bytes[1]) && among("\1\2\3\x09\x0a\x0b"sv, bytes[2]) && le16(bytes, 12) > 0 &&
      le16(bytes, 14) > 0 && among("\x08\x0f\x10\x18\x20"sv, bytes[16]))
    return sentence("a TGA image", kConvert);
  return "";
}

bool is_text(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 ? c != 0x7f
                                                 : c == '\t' || c == '\n' || c == '\r' || c == '\f';
  });
}

/// The text up to its first line's end; what is not ASCII would have to be of the right encoding.
std::string first_words(std::string_view text) {
  std::string words(text.substr(0, std::min(text.find_first_of("\r\n"), size_t{40})));
  for (char& c : words)
    if (c < 0x20) c = c == '\t' ? ' ' : '?';
  return words;
}

std::string by_text(std::string_view bytes) {
  if (bytes.starts_with("\xff\xfe"sv) || bytes.starts_with("\xfe\xff"sv))
    return sentence("a text (UTF-16)", kNoPicture);
  bytes = bytes.substr(0, 4096);
  if (!is_text(bytes)) return "";
  if (bytes.starts_with("\xef\xbb\xbf"sv)) bytes.remove_prefix(3);
  bytes.remove_prefix(std::min(bytes.find_first_not_of(" \t\r\n\f"), bytes.size()));
  if (bytes.empty()) return sentence("a text of blanks", kNoPicture);
  std::string lower(bytes);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto begins = [&](std::string_view start) { return lower.starts_with(start); };
  const bool marked_up = begins("<");
  for (const char* tag : {"<html", "<!doctype html", "<head", "<body"})
    if (marked_up && lower.find(tag) != lower.npos)
      return sentence("an HTML page", "its server sent a page in place of the picture");
  if (marked_up && lower.find("<svg") != lower.npos) return sentence("an SVG drawing", kConvert);
  if (begins("<?xml")) return sentence("an XML document", kNoPicture);
  return cat("a text that begins with \"", first_words(bytes), '"');
}

}  // namespace

std::string kind_of_file(std::span<const uint8_t> bytes) {
  const std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const auto known_by : {by_signature, by_brand, by_header, by_text})
    if (const std::string kind = known_by(view); !kind.empty()) return kind;
  if (std::all_of(view.begin(), view.end(), [](char c) { return c == 0; }))
    return cat(view.size(), " zero bytes: ", kFetchAgain);
  return cat("a file of an unknown kind (", view.size(), " bytes)");
}

}  // namespace lapidary
