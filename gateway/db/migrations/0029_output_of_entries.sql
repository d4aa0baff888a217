-- Where what an entry prints goes: to the printer that is selected, into the report inbox of its user, nowhere.
ALTER TABLE queue_entry ADD COLUMN output text NOT NULL DEFAULT 'print' CHECK (output IN ('print', 'pdf', 'none'));
