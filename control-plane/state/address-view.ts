const NOTHING: ReadonlyMap<string, never> = new Map<string, never>();

/** The keys of a map with later holders over it (none: gone), as a set; nothing is copied. */
export class AddressView implements ReadonlySet<string> {
  readonly #base: ReadonlyMap<string, unknown>;
  readonly #over: ReadonlyMap<string, readonly string[]>;

  constructor(
    base: ReadonlyMap<string, string> | undefined,
    over: ReadonlyMap<string, readonly string[]> | undefined = NOTHING,
  ) {
    this.#base = base ?? NOTHING;
    this.#over = over;
  }

  has(address: string): boolean {
    const holders = this.#over.get(address);
    return holders === undefined ? this.#base.has(address) : holders.length > 0;
  }

  /** Counted on demand: cost proportional to the changes, not to the base. */
  get size(): number {
    let size = this.#base.size;
    for (const [address, holders] of this.#over) {
      const before = this.#base.has(address);
      if (holders.length === 0) size -= before ? 1 : 0;
      else size += before ? 0 : 1;
    }
    return size;
  }

  *values(): SetIterator<string> {
    for (const address of this.#base.keys()) if (!this.#over.has(address)) yield address;
    for (const [address, holders] of this.#over) if (holders.length > 0) yield address;
  }

  keys(): SetIterator<string> {
    return this.values();
  }

  *entries(): SetIterator<[string, string]> {
    for (const address of this.values()) yield [address, address];
  }

  [Symbol.iterator](): SetIterator<string> {
    return this.values();
  }

  forEach(callback: (value: string, key: string, set: ReadonlySet<string>) => void): void {
    for (const address of this.values()) callback(address, address, this);
  }
}
