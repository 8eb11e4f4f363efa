/* SPDX-License-Identifier: Apache-2.0 */
/* What the file routes say and read, as text: pure. */
#ifndef MILLRACE_API_FILE_TEXT_H
#define MILLRACE_API_FILE_TEXT_H

#include "base/buf.h"
#include "queue/session.h"

/* May it be the path of a file below /mnt/data (CONTRACT 3.8)? ERR_INVALID with the reason. */
MUST_CHECK enum err file_name_check(struct str name, struct errinfo *info);

/* The content type of a name's end; "application/octet-stream" where it is not known. */
const char *file_type_of(struct str name);
/* What the client gave, where it is a plain type/subtype, else by the name. */
struct str file_type(const struct session_file *file);

/* "sid/fid.ext" */
void file_write_object(struct buf *out, struct id session, const struct session_file *file);
/* 2026-08-22T09:30:00.000Z */
void file_write_time(struct buf *out, int64_t ms);
/* attachment; filename="..."; filename*=UTF-8''... */
void file_write_disposition(struct buf *out, struct str name);

/* One element of GET /files: the levels of CONTRACT 2.6, and the answer of GET /sessions/../objects/... */
enum file_detail { FILE_SIMPLE, FILE_SUMMARY, FILE_FULL, FILE_NORMALIZED, FILE_OBJECT };
enum file_detail file_detail_parse(struct str text); /* what is not known is FILE_SIMPLE */
void file_write(struct buf *out, struct id session, const struct session_file *file, enum file_detail detail);

/* One range of `size` bytes. ERR_OK; ERR_NOT_FOUND: the whole is to be sent (no range, not bytes, several);
   ERR_RANGE: 416. */
MUST_CHECK enum err file_range_parse(struct str header, uint64_t size, uint64_t *ret_from,
                                     uint64_t *ret_length);

#endif
