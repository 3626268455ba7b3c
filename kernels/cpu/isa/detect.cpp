#include "kernels/cpu/isa/detect.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>

namespace lapidary::cpu {
namespace {

// Bits as in Intel's manual, volume 2, CPUID; the names of the registers are in the functions below.
constexpr uint32_t kFma = 1u << 12, kOsxsave = 1u << 27;                     // leaf 1, ecx
constexpr uint32_t kAvx2 = 1u << 5;                                          // leaf 7, ebx
constexpr uint32_t kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;      // F, DQ, BW, VL
constexpr uint32_t kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;                 // leaf 7, edx
constexpr uint32_t kAvx512Bf16 = 1u << 5;                                    // leaf 7.1, eax
constexpr uint64_t kYmmState = 0x6, kZmmState = 0xe6, kTileState = 0x60000;  // XCR0

struct Cpuid {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Cpuid cpuid(uint32_t leaf, uint32_t subleaf) {
  Cpuid r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);  // all zero where there is no such leaf
  return r;
}

/// The register states that the operating system saves.
uint64_t saved_states() {
  if ((cpuid(1, 0).ecx & kOsxsave) == 0) return 0;
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

/// Linux keeps tiles from a process until it asks for them.
bool tiles_granted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has(uint64_t value, uint64_t bits) { return (value & bits) == bits; }

}  // namespace

std::vector<const Isa*> available_isas() {
  const uint64_t saved = saved_states();
  const Cpuid basic = cpuid(1, 0), extended = cpuid(7, 0), newest = cpuid(7, 1);
  std::vector<const Isa*> found{&portable_isa()};  // worst first, turned round at the end
  const bool avx2 = has(saved, kYmmState) && has(basic.ecx, kFma) && has(extended.ebx, kAvx2);
  const bool avx512 = avx2 && has(saved, kZmmState) && has(extended.ebx, kAvx512);
  const bool bf16 = avx512 && extended.eax >= 1 && has(newest.eax, kAvx512Bf16);
  const bool amx =
      bf16 && has(saved, kTileState) && has(extended.edx, kAmxBf16 | kAmxTile) && tiles_granted();
  if (avx2) found.push_back(&avx2_isa());
  if (avx512) found.push_back(&avx512_isa());
  if (bf16) found.push_back(&avx512_bf16_isa());
  if (amx) found.push_back(&amx_isa());
  return {found.rbegin(), found.rend()};
}

const Isa& choose_isa(const std::string& name) {
  const std::vector<const Isa*> available = available_isas();
  if (name == "auto") return *available.front();
  std::string names;
  for (const Isa* isa : available) {
    if (name == isa->name) return *isa;
    names += std::string(names.empty() ? "" : ", ") + isa->name;
  }
  for (const char* known : {"amx", "avx512-bf16", "avx512", "avx2"}) {
    if (name == known) {
      throw std::runtime_error("this machine can't run the instruction set \"" + name + "\"; it runs " +
                               names);
    }
  }
  throw std::runtime_error("\"" + name + "\" is no instruction set known here; this machine runs " + names);
}

}  // namespace lapidary::cpu
