// What the pages need beyond htmx: files that are dropped, and how far an upload is. Without it the form works as well.
"use strict";

// Streams of events end now and then, and the browser opens them again by itself: nothing that htmx should report as an
// error. What the browser gives up is left to htmx, which reports it and tries again.
if (window.htmx) {
  htmx.createEventSource = (address) => {
    const stream = new EventSource(address);
    stream.addEventListener("error", (event) => {
      if (stream.readyState === EventSource.CONNECTING) event.stopImmediatePropagation();
    });
    return stream;
  };
}

for (const form of document.querySelectorAll("form.drop")) {
  const input = form.querySelector("input[type=file]");
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  form.addEventListener("dragleave", () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    if (event.dataTransfer.files.length) {
      input.files = event.dataTransfer.files;
      if (form.matches("[data-upload]")) form.requestSubmit();
    }
  });
}

for (const form of document.querySelectorAll("form[data-upload]")) {
  const place = form.querySelector("[data-progress]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.setAttribute("aria-label", "Upload");
    const words = document.createElement("span");
    place.replaceChildren(bar, words);
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", (step) => {
      bar.value = step.total ? step.loaded / step.total : 0;
      words.textContent = step.loaded < step.total ? ` ${Math.round(100 * bar.value)} % sent` : " sent; being checked and stored";
    });
    request.addEventListener("error", () => (place.textContent = "The upload broke off; the same file may be sent again."));
    request.addEventListener("load", () => {
      if (request.status < 400) {
        location.assign(request.responseURL);
        return;
      }
      const answer = new DOMParser().parseFromString(request.responseText, "text/html");
      place.replaceChildren(...(answer.querySelector("[role=alert]") ? [answer.querySelector("[role=alert]")] : ["It was refused."]));
    });
    request.open("POST", form.action);
    request.send(new FormData(form));
  });
}
