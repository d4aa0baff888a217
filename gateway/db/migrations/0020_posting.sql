-- Posting of documents. What is posted is never changed: these rows only come.

-- What became of a document that somebody wants to post.
CREATE TABLE document_posting (
    rec_id       bigint PRIMARY KEY REFERENCES entity ON DELETE CASCADE,
    queue_status text CHECK (queue_status IN ('scheduled', 'posting', 'error')),   -- NULL: blank
    error        text,
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    posted_as    text          -- the number of the last posted document, once nothing is left to post
);
CREATE INDEX ON document_posting (queue_status) WHERE queue_status IS NOT NULL;

-- What of its lines was posted, so that the last part of a line gets what is left.
CREATE TABLE posted_line (
    rec_id           bigint NOT NULL REFERENCES document_posting ON DELETE CASCADE,
    line_no          integer NOT NULL,
    moved            numeric NOT NULL,
    invoiced         numeric NOT NULL,
    gross            numeric NOT NULL,
    discount         numeric NOT NULL,
    invoice_discount numeric NOT NULL,
    PRIMARY KEY (rec_id, line_no)
);

CREATE TABLE posted_document (
    rec_id          bigint PRIMARY KEY REFERENCES entity ON DELETE CASCADE,
    source_rec_id   bigint NOT NULL,
    source_version  integer NOT NULL,     -- of the source when it was posted
    document        text NOT NULL,        -- such as PostedSalesInvoice
    partition_key   text NOT NULL,
    company         text NOT NULL,
    number          text NOT NULL,
    party           text NOT NULL,
    vendor_document text,
    applies_to      text,
    currency        text NOT NULL,
    total           numeric,              -- NULL where goods were moved; below zero where money goes back
    posted_by       text NOT NULL,
    posted_at       timestamptz NOT NULL,
    UNIQUE (source_rec_id, source_version, document),
    UNIQUE (partition_key, company, document, party, vendor_document)
);
CREATE INDEX ON posted_document (partition_key, company, number);
CREATE INDEX ON posted_document (partition_key, company, applies_to) WHERE applies_to IS NOT NULL;

CREATE TABLE stock (
    partition_key text NOT NULL,
    company       text NOT NULL,
    item          text NOT NULL,
    location      text NOT NULL,
    quantity      numeric NOT NULL,       -- in the first unit of the item
    PRIMARY KEY (partition_key, company, item, location)
);
