const NOTHING: ReadonlyMap<string, undefined> = new Map<string, undefined>();

/** The keys of a map with later changes over it (undefined: gone), as a set; nothing is copied. */
export class AddressView implements ReadonlySet<string> {
  readonly #base: ReadonlyMap<string, unknown>;
  readonly #over: ReadonlyMap<string, string | undefined>;

  constructor(
    base: ReadonlyMap<string, string> | undefined,
    over: ReadonlyMap<string, string | undefined> | undefined = NOTHING,
  ) {
    this.#base = base ?? NOTHING;
    this.#over = over;
  }

  has(address: string): boolean {
    if (this.#over.has(address)) return this.#over.get(address) !== undefined;
    return this.#base.has(address);
  }

  /** Counted on demand: cost proportional to the changes, not to the base. */
  get size(): number {
    let size = this.#base.size;
    for (const [address, holder] of this.#over) {
      const before = this.#base.has(address);
      if (holder === undefined) size -= before ? 1 : 0;
      else size += before ? 0 : 1;
    }
    return size;
  }

  *values(): SetIterator<string> {
    for (const address of this.#base.keys()) if (!this.#over.has(address)) yield address;
    for (const [address, holder] of this.#over) if (holder !== undefined) yield address;
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
