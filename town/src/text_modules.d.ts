// A .md file is bundled as a text module, by town.capnp (`text = embed`) and by wrangler.jsonc (`rules`) alike.
declare module "*.md" {
  const text: string;
  export default text;
}

// ES2025 source text access: the library types of TypeScript 5.9 do not know it yet.
interface JSON {
  rawJSON(text: string): unknown;
}
