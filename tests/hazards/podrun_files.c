/* SPDX-License-Identifier: Apache-2.0 */
#include "podrun_files.h"

#include "base/cleanup.h"
#include "worker/file_refused.h"

enum { FILES_MOST = 10, FILE_BYTES_MOST = 10 << 20, ALL_BYTES_MOST = 50 << 20, PATH_ROOM = 64 << 10 };

void podrun_quote(struct buf *out, struct str text)
{
    buf_append_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '"' || c == '\\' || c < 32 || c > 126)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append_char(out, (char)c);
    }
    buf_append_char(out, '"');
}

void podrun_collect(struct buf *job)
{
    auto_buf payload = BUF_INIT(PATH_ROOM);
    frame_put_collect(&payload, &(struct frame_collect){.max_files = FILES_MOST,
                                                        .max_file_bytes = FILE_BYTES_MOST,
                                                        .max_bytes = ALL_BYTES_MOST,
                                                        .skip = {"main.py", sizeof "main.py"}});
    frame_append(job, FRAME_COLLECT, payload.data, payload.len);
}

static void begin(struct buf *told, const struct frame_file *file)
{
    buf_append_cstr(told, "{\"path\":");
    podrun_quote(told, file->path);
}

static void refused(struct buf *told, const struct frame_file *file)
{
    begin(told, file);
    buf_printf(told, ",\"refused\":\"%s\",\"count\":%llu},",
               file_refused_name((enum file_refused)file->flags), (unsigned long long)file->size);
}

bool podrun_file(struct buf *told, struct buf *bytes, const struct frame *frame)
{
    struct frame_file file;
    if (frame->type == FRAME_FILE_DATA) {
        buf_append_str(bytes, frame->payload);
        return true;
    }
    if (frame->type == FRAME_FILE_END) {
        buf_append_cstr(told, ",\"data\":");
        podrun_quote(told, buf_str(bytes));
        buf_append_cstr(told, "},");
        buf_reset(bytes);
        return true;
    }
    if ((frame->type != FRAME_FILE_BEGIN && frame->type != FRAME_FILE_REFUSED) ||
        frame_get_file(frame->payload, &file) != ERR_OK)
        return false;
    if (frame->type == FRAME_FILE_BEGIN)
        begin(told, &file);
    else
        refused(told, &file);
    return true;
}
