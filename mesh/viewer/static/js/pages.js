// Rows of a long list by pages: what is looked at is fetched, the latest wish first, and little is kept.

const SIZE = 200;
const KEPT_MAX = 30;
const UNDER_WAY_MAX = 2;

export class Pages {
  /** `fetch(offset, limit, signal)` gives `{total, rows}`; `changed()` is told when there is more to draw. */
  constructor(fetch, changed, failed) {
    this._fetch = fetch;
    this._changed = changed;
    this._failed = failed;
    this._pages = new Map();
    this._stale = new Set();
    this._under_way = new Set();
    this._wanted = [];
    this._aborter = new AbortController();
    this.total = 0;
  }

  close() { this._aborter.abort(); }

  at(offset) {
    const page = this._pages.get(Math.floor(offset / SIZE));
    return page?.[offset % SIZE];
  }

  /** The rows around an offset that are there already. */
  get kept() { return this._pages.size * SIZE; }

  want(from, until) {
    const first = Math.max(0, Math.floor(from / SIZE));
    const last = Math.max(first, Math.floor(Math.max(from, until - 1) / SIZE));
    this._wanted = [];
    for (let number = first; number <= last; number += 1) {
      const page = this._pages.get(number);
      if (page) {
        this._pages.delete(number);
        this._pages.set(number, page);
      }
      if (!page || this._stale.has(number)) this._wanted.push(number);
    }
    this._next();
  }

  /** Forget what may be short: the last page of a list that grows. */
  grow(total) {
    if (total <= this.total) return;
    this._pages.delete(Math.floor(this.total / SIZE));
    this.total = total;
  }

  /** Ask for everything anew; what is there is shown until the answer comes. */
  renew() {
    this._stale = new Set(this._pages.keys());
  }

  async _next() {
    const number = this._wanted.find((one) => !this._under_way.has(one));
    if (number === undefined || this._under_way.size >= UNDER_WAY_MAX) return;
    this._under_way.add(number);
    this._next();
    try {
      const answer = await this._fetch(number * SIZE, SIZE, this._aborter.signal);
      this.total = answer.total ?? 0;
      this._pages.set(number, answer.rows ?? []); // Who has nothing before all was read has no rows.
      this._stale.delete(number);
      while (this._pages.size > KEPT_MAX) this._pages.delete(this._pages.keys().next().value);
      this._wanted = this._wanted.filter((one) => one !== number);
      this._changed(answer);
    } catch (error) {
      this._wanted = this._wanted.filter((one) => one !== number);
      if (error.name !== "AbortError") this._failed(error);
    } finally {
      this._under_way.delete(number);
      if (!this._aborter.signal.aborted) this._next();
    }
  }
}
