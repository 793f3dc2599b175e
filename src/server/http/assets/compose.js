// What the forms are spared by script: to be sent twice, to be lost, and a long list of topics.

const sent = new WeakSet();

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.sending) return;
  if (sent.has(form)) return event.preventDefault();
  sent.add(form);
  const button = form.querySelector("button[type=submit]");
  button.setAttribute("aria-disabled", "true");
  button.dataset.name = button.textContent;
  button.textContent = form.dataset.sending;
});
// A page that comes back out of the browser's memory can be sent again: under the same request id.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sending]")) {
    if (!sent.delete(form)) continue;
    const button = form.querySelector("button[type=submit]");
    button.removeAttribute("aria-disabled");
    button.textContent = button.dataset.name;
  }
});

for (const form of document.querySelectorAll("form.compose")) {
  const begun = new URLSearchParams(new FormData(form)).toString();
  const isChanged = () => new URLSearchParams(new FormData(form)).toString() !== begun;
  addEventListener("beforeunload", (event) => {
    if (!sent.has(form) && isChanged()) event.preventDefault();
  });

  const pick = form.querySelector("input.pick");
  if (pick) {
    const items = [...form.querySelectorAll(".topics-field li")];
    pick.hidden = false;
    pick.addEventListener("input", () => {
      const wanted = pick.value.trim().toLocaleLowerCase();
      for (const item of items) {
        const value = item.querySelector("input").value;
        item.hidden = !`${item.textContent} ${value}`.toLocaleLowerCase().includes(wanted) && !item.querySelector("input:checked");
      }
    });
    // It narrows down, and sends nothing.
    pick.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
    });
  }
}
document.querySelector("main [role=alert][tabindex]")?.focus();
