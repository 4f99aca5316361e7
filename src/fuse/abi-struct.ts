import { assert } from '../base/assert.js';

/** Sizes of the kernel's field types; every FUSE structure is naturally aligned, so fields follow each other without gaps. */
const FIELD_BYTES = { u16: 2, u32: 4, i32: 4, u64: 8, i64: 8 } as const;

export type FieldType = keyof typeof FIELD_BYTES;

/** A structure of the kernel's interface: its size and where its fields are, in bytes from its start. */
export interface Struct<Field extends string = string> {
  readonly label: string;
  readonly bytes: number;
  readonly at: Readonly<Record<Field, number>>;
}

/** Lays out a structure from its fields; `bytes` is what the kernel header says and must agree. Nested structures are given as such. */
export function struct<Field extends string>(
  label: string,
  bytes: number,
  fields: Record<Field, FieldType | Struct>,
): Struct<Field> {
  const at = {} as Record<Field, number>;
  let end = 0;
  for (const name in fields) {
    const field: FieldType | Struct = fields[name];
    const width = typeof field === 'string' ? FIELD_BYTES[field] : field.bytes;
    assert(end % Math.min(width, 8) === 0, `${label}.${name} is not aligned`);
    at[name] = end;
    end += width;
  }
  assert(end === bytes, `${label} has ${end} bytes, the kernel says ${bytes}`);
  return { label, bytes, at };
}
