-- Room `downloads`: what one download may do that the learner's settings don't say.

-- 1: only over Wi-Fi; 0: over any network; NULL: as the settings say.
ALTER TABLE downloads ADD COLUMN wifi_only INTEGER CHECK (wifi_only IN (0, 1));
-- Until it is complete: outside the chosen hours, too; on battery, too.
ALTER TABLE downloads ADD COLUMN at_any_hour INTEGER NOT NULL DEFAULT 0 CHECK (at_any_hour IN (0, 1));
ALTER TABLE downloads ADD COLUMN on_battery INTEGER NOT NULL DEFAULT 0 CHECK (on_battery IN (0, 1));

-- They are said of this fetch: a newer version, fetched a month later, waits for Wi-Fi again.
CREATE TRIGGER downloads_end AFTER UPDATE OF state ON downloads
    WHEN new.state IN ('completed', 'cancelled', 'expired') AND old.state <> new.state
BEGIN
    UPDATE downloads SET wifi_only = NULL, at_any_hour = 0, on_battery = 0 WHERE id = new.id;
END;
