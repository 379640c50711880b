/* CRC-32C (Castagnoli; RFC 3720, appendix B.4): finds bytes that a disk or a bus has changed. */
#ifndef LN_BASE_CRC_H
#define LN_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t ln_crc32c(const void *data, size_t len);

#endif
