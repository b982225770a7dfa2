-- When a download ceased to count: its device is lost, or nobody may open it any more.
ALTER TABLE downloads ADD COLUMN lapsed_at BIGINT;
