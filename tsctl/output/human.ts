// Times and sizes as Docker writes them (go-units).

export const humanDuration = (ms: number): string => {
  const s = Math.floor(ms / 1_000);
  if (s < 1) return "Less than a second";
  if (s === 1) return "1 second";
  if (s < 60) return `${s} seconds`;
  const m = Math.floor(s / 60);
  if (m === 1) return "About a minute";
  if (m < 60) return `${m} minutes`;
  const h = Math.round(m / 60);
  if (h === 1) return "About an hour";
  if (h < 48) return `${h} hours`;
  if (h < 24 * 7 * 2) return `${Math.floor(h / 24)} days`;
  if (h < 24 * 30 * 2) return `${Math.floor(h / 24 / 7)} weeks`;
  if (h < 24 * 365 * 2) return `${Math.floor(h / 24 / 30)} months`;
  return `${Math.floor(h / 24 / 365)} years`;
};

/** `at` in ms since the epoch; clocks of hosts differ, so the future is now. */
export const ago = (at: number, now: number): string => `${humanDuration(Math.max(0, now - at))} ago`.toLowerCase();

const SIZES = ["B", "kB", "MB", "GB", "TB"];

/** Decimal, three significant digits: "1.24MB". */
export const humanSize = (bytes: number): string => {
  let value = bytes;
  let unit = 0;
  while (value >= 1_000 && unit < SIZES.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${Number(value.toPrecision(3))}${SIZES[unit]}`;
};

/** Binary, as memory is given: "1.5GiB". */
export const humanMemory = (bytes: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const unit = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${Number((bytes / 2 ** (10 * unit)).toPrecision(4))}${units[unit]}`;
};

export const capitalize = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** Milliseconds as a duration flag would be written: 90000 is "1m30s". */
export const shortDuration = (ms: number): string => {
  if (ms === 0) return "0s";
  const h = Math.floor(ms / 3_600_000);
  const m = Math.floor((ms % 3_600_000) / 60_000);
  const s = (ms % 60_000) / 1_000;
  return `${h > 0 ? `${h}h` : ""}${m > 0 ? `${m}m` : ""}${s > 0 ? (s < 1 && h + m === 0 ? `${s * 1_000}ms` : `${s}s`) : ""}`;
};
