-- An address that knows no accounts names the sender of a file (`owner`), and has no number for him.
ALTER TABLE delivery ALTER COLUMN owner_uid DROP NOT NULL;
