/* SPDX-License-Identifier: Apache-2.0 */
/* The little XML that S3 answers with, read strictly and bounded: elements, text, the five named entities and character
   references. Refused: DOCTYPE, CDATA, comments, processing instructions but the declaration, other encodings than UTF-8,
   more than XML_DEPTH_MAX levels, text between elements, more than one root. Attributes are skipped. Pure. */
#ifndef MILLRACE_IO_STORE_XML_H
#define MILLRACE_IO_STORE_XML_H

#include "base/buf.h"

enum { XML_DEPTH_MAX = 8, XML_NAME_MAX = 64, XML_TEXT_MAX = 4096 };

enum xml_event { XML_OPEN, XML_CLOSE, XML_END, XML_BAD };

struct xml {
    struct str rest;
    unsigned depth;
    struct str names[XML_DEPTH_MAX];
    struct buf text; /* of the element that was closed last, when it had no elements in it */
    bool leaf, started, closing;
};

void xml_init(struct xml *x, struct str document);
void xml_free(struct xml *x);
/* XML_OPEN: names[depth - 1] has begun. XML_CLOSE: the element at names[depth], now above the stack, has ended; `text`
   is its text. XML_END: the root has ended and nothing follows. Sticky at END and BAD. */
enum xml_event xml_next(struct xml *x);
/* The element that xml_next() just opened or closed. */
struct str xml_name(const struct xml *x, enum xml_event event);

#endif
